//! Finds out which isolation this machine gives, by trying it: each namespace alone, then a whole process.
//!
//! Called as `shim probe <directory>` with a draft of the specification in the directory; answers on standard output.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use nix::sched::CloneFlags;
use nix::unistd::chdir;
use serde::{Deserialize, Serialize};

use super::sys::{self, Side};
use super::{Fault, child};
use crate::local::cgroup::Cgroups;
use crate::local::layout::SPEC;
use crate::local::record::{self, Controllers, Plan, Spec};

/// The word on the command line.
pub(in crate::local) const PROBE: &str = "probe";

/// What was found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::local) struct Found {
    /// What works, together.
    pub(in crate::local) plan: Plan,
    /// Whether processes can run as another user.
    pub(in crate::local) other_user: bool,
    /// Why what does not work does not: (kind, reason).
    pub(in crate::local) refused: Vec<(String, String)>,
}

pub(super) fn run(dir: &Path) -> i32 {
    sys::close_all_but_standard();
    let probed = chdir(dir)
        .map_err(Fault::of("enter the directory"))
        .and_then(|()| record::read::<Spec>(Path::new(SPEC)).map_err(Fault::of("read the draft")))
        .map(|spec| probe(&spec));
    let answered = probed.and_then(|found| {
        let words = serde_json::to_vec(&found).map_err(Fault::of("answer"))?;
        // Flushed here, because this process ends without the clean-up that would do it.
        let mut out = std::io::stdout().lock();
        out.write_all(&words)
            .and_then(|()| out.flush())
            .map_err(Fault::of("answer"))
    });
    match answered {
        Ok(()) => 0,
        Err(fault) => {
            eprintln!("hoist shim: {fault}");
            1
        }
    }
}

fn probe(draft: &Spec) -> Found {
    let mut found = Found::default();
    namespaces(&mut found);
    let other_user = draft.uid.is_some() && !found.plan.user;
    let mut last = String::new();
    for (mut plan, other_user) in candidates(&found.plan, other_user) {
        match trial(draft, &plan, other_user) {
            Ok(()) => {
                explain(&mut found, &plan, other_user, &last);
                plan.counted = plan.user && counts(draft, &plan);
                found.plan = plan;
                found.other_user = other_user;
                return found;
            }
            Err(reason) => last = reason,
        }
    }
    explain(&mut found, &Plan::default(), false, &last);
    found.plan = Plan::default();
    found
}

/// Tries each namespace alone, within a user namespace where that is what it takes.
fn namespaces(found: &mut Found) {
    let mut base = CloneFlags::empty();
    if attempt(CloneFlags::CLONE_NEWNS).is_err()
        && attempt(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).is_ok()
    {
        base = CloneFlags::CLONE_NEWUSER;
        found.plan.user = true;
    }
    let plan = &mut found.plan;
    let kinds = [
        ("mount", CloneFlags::CLONE_NEWNS, &mut plan.mount),
        ("pid", CloneFlags::CLONE_NEWPID, &mut plan.pid),
        ("ipc", CloneFlags::CLONE_NEWIPC, &mut plan.ipc),
        ("uts", CloneFlags::CLONE_NEWUTS, &mut plan.uts),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP, &mut plan.cgroup),
    ];
    for (kind, flag, works) in kinds {
        match attempt(base | flag) {
            Ok(()) => *works = true,
            Err(error) => found.refused.push((kind.to_owned(), error.to_string())),
        }
    }
    plan.own_proc = plan.pid && plan.mount;
    plan.overlay = plan.mount;
}

fn attempt(flags: CloneFlags) -> std::io::Result<()> {
    match sys::clone_process(flags, None)? {
        Side::Child => sys::exit_now(0),
        Side::Parent { pid, .. } => {
            super::wait_code(pid);
            Ok(())
        }
    }
}

/// What to try, the best first.
fn candidates(best: &Plan, other_user: bool) -> Vec<(Plan, bool)> {
    let mut plans = Vec::new();
    for (own_proc, overlay) in [(true, true), (true, false), (false, true), (false, false)] {
        if best.mount && (best.own_proc || !own_proc) {
            plans.push(Plan {
                own_proc,
                overlay,
                ..best.clone()
            });
        }
    }
    plans.push(Plan {
        mount: false,
        own_proc: false,
        overlay: false,
        ..best.clone()
    });
    let users = if other_user {
        vec![true, false]
    } else {
        vec![false]
    };
    users
        .iter()
        .flat_map(|user| plans.iter().map(|plan| (plan.clone(), *user)))
        .collect()
}

/// Starts a process that writes into its layer, exactly as one of an app is started.
fn trial(draft: &Spec, plan: &Plan, other_user: bool) -> Result<(), String> {
    let spec = Spec {
        plan: plan.clone(),
        uid: draft.uid.filter(|_| other_user),
        ..draft.clone()
    };
    let run = || -> Result<Result<(), String>, Fault> {
        let env = File::open("/dev/null").map_err(Fault::of("open /dev/null"))?;
        let mut child = child::start(
            &spec,
            &env,
            &Cgroups::of(&Controllers::default(), &spec.process),
            None,
        )?;
        let code = super::wait_code(child.pid);
        let (mut fault, mut said) = (String::new(), String::new());
        let _ = child.fault.read_to_string(&mut fault);
        if let Some(err) = &mut child.err {
            let _ = err.read_to_string(&mut said);
        }
        Ok(match code {
            0 => Ok(()),
            _ if !fault.is_empty() => Err(fault),
            code => Err(format!("a trial ended with {code}: {}", said.trim())),
        })
    };
    let outcome = run().unwrap_or_else(|fault| Err(fault.to_string()));
    let _ = super::layer::discard();
    outcome
}

/// Whether the limit on a user's processes is one of each user namespace, and so of each app.
///
/// Older kernels count all that the user has, wherever it is: this machine's rack alone is more than the larger limit here.
fn counts(draft: &Spec, plan: &Plan) -> bool {
    let forks = |most: u64| {
        let spec = Spec {
            argv: ["/bin/sh", "-c", "/bin/true; exit 0"]
                .map(str::to_owned)
                .into(),
            pids_max: most,
            ..draft.clone()
        };
        let plan = Plan {
            counted: true,
            ..plan.clone()
        };
        trial(&spec, &plan, false).is_ok()
    };
    forks(3) && !forks(1)
}

/// Adds why the plan that works is less than what seemed possible.
fn explain(found: &mut Found, works: &Plan, other_user: bool, reason: &str) {
    let lost = [
        ("mount", found.plan.mount && !works.mount),
        (
            "proc",
            found.plan.own_proc && !works.own_proc && works.mount,
        ),
        ("layer", found.plan.overlay && !works.overlay && works.mount),
        ("other_user", !other_user && !reason.is_empty()),
    ];
    for (kind, lost) in lost {
        if lost {
            found.refused.push((kind.to_owned(), reason.to_owned()));
        }
    }
}
