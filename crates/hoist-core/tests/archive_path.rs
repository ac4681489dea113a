//! Whatever an archive holds: what was let in stays inside, by the rules by which a kernel follows links.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use hoist_core::archive_path::{Entries, Entry};
use proptest::prelude::*;

/// A directory tree in memory, with links as a kernel has them.
#[derive(Default)]
struct Tree {
    links: BTreeMap<PathBuf, PathBuf>,
}

/// Left the top, or a loop of links, which leads nowhere.
#[derive(Debug, PartialEq)]
enum Walk {
    Inside(PathBuf),
    Outside,
    Loop,
}

impl Tree {
    fn walk(&self, from: &Path, path: &Path, hops: u32) -> Walk {
        if hops > 40 {
            return Walk::Loop;
        }
        let mut here = from.to_path_buf();
        for component in path.components() {
            match component {
                Component::RootDir | Component::Prefix(_) => return Walk::Outside,
                Component::CurDir => {}
                Component::ParentDir => {
                    if !here.pop() {
                        return Walk::Outside;
                    }
                }
                Component::Normal(name) => {
                    let next = here.join(name);
                    match self.links.get(&next) {
                        None => here = next,
                        Some(target) => match self.walk(&here, target, hops + 1) {
                            Walk::Inside(end) => here = end,
                            other => return other,
                        },
                    }
                }
            }
        }
        Walk::Inside(here)
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File,
    Symbolic(String),
    Hard(String),
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => "[abc]", 2 => Just("..".to_owned()), 1 => Just(".".to_owned()), 1 => Just(String::new())];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = (String, Kind)> {
    let kind = prop_oneof![
        Just(Kind::Directory),
        Just(Kind::File),
        path().prop_map(Kind::Symbolic),
        path().prop_map(Kind::Hard),
    ];
    (path(), kind)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_entry_and_no_link_leads_outside(entries in proptest::collection::vec(entry(), 1..14)) {
        let mut admitted = Entries::new();
        let mut tree = Tree::default();
        for (path, kind) in &entries {
            let entry = match kind {
                Kind::Directory => Entry::Directory,
                Kind::File => Entry::File,
                Kind::Symbolic(target) => Entry::SymbolicLink(target.as_bytes()),
                Kind::Hard(target) => Entry::HardLink(target.as_bytes()),
            };
            let Ok(clean) = admitted.admit(path.as_bytes(), entry) else {
                continue;
            };
            // Writing it goes to the place that was named: no link is on the way.
            let parent = clean.parent().unwrap_or(Path::new(""));
            prop_assert_eq!(tree.walk(Path::new(""), parent, 0), Walk::Inside(parent.to_path_buf()));
            if let Kind::Symbolic(target) = kind {
                tree.links.insert(clean.clone(), PathBuf::from(target));
            }
        }
        for link in tree.links.keys() {
            prop_assert_ne!(tree.walk(Path::new(""), link, 0), Walk::Outside, "{:?}", link);
        }
    }

    #[test]
    fn any_bytes_are_decided_without_a_panic(
        entries in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>(), 0u8..5), 0..20)
    ) {
        let mut admitted = Entries::new();
        for (path, target, kind) in &entries {
            let entry = match kind {
                0 => Entry::Directory,
                1 => Entry::File,
                2 => Entry::SymbolicLink(target),
                3 => Entry::HardLink(target),
                _ => Entry::Other,
            };
            if let Ok(clean) = admitted.admit(path, entry) {
                prop_assert!(clean.is_relative());
                prop_assert!(clean.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}

#[test]
fn the_model_of_a_kernel_sees_an_escape_by_a_chain_of_links() {
    let tree = Tree {
        links: BTreeMap::from([
            (PathBuf::from("deep/up"), PathBuf::from("..")),
            (PathBuf::from("escape"), PathBuf::from("deep/up/..")),
        ]),
    };
    assert_eq!(
        tree.walk(Path::new(""), Path::new("escape"), 0),
        Walk::Outside
    );
}
