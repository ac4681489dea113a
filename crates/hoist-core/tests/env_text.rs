//! Whatever variables hold: what is written reads back as it was; and whatever text holds, reading it ends.

use std::collections::BTreeMap;

use hoist_core::env_text::{line, read};
use proptest::prelude::*;

/// Values of what makes trouble, and any others.
fn value() -> impl Strategy<Value = String> {
    let troublesome = r##"[ \t\r\n'"#$`\\=*{}nru0\u{1b}\u{85}\u{7f}\u{feff}üA]{0,12}"##;
    prop_oneof![
        proptest::string::string_regex(troublesome).expect("a pattern"),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,4}|export", value(), 0..6)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(variables in variables(), crlf: bool) {
        let lines = variables.iter().map(|(name, value)| line(name, value));
        let text: String = lines.map(|line| line + "\n").collect();
        prop_assert_eq!(read(&text), Ok(variables.clone()), "{:?}", text);
        // What a terminal or an editor makes of line ends does no harm.
        let text = if crlf { text.replace('\n', "\r\n") } else { text.trim_end_matches('\n').to_owned() };
        prop_assert_eq!(read(&text), Ok(variables), "{:?}", text);
    }

    #[test]
    fn any_text_is_read_or_refused_within_it(text in prop_oneof![any::<String>(), value(), "(A=['\"]?[\\\\'\"# \nx]{0,4}\n?){0,6}"]) {
        if let Err(refused) = read(&text) {
            prop_assert!((1..=text.split('\n').count()).contains(&refused.line), "{refused}");
        }
    }

    #[test]
    fn what_is_read_is_written_and_read_again(text in "(A|B|C)=['\"]?[\\\\'\"# nx]{0,6}['\"]?\n?") {
        if let Ok(variables) = read(&text) {
            let lines = variables.iter().map(|(name, value)| line(name, value));
            let again: String = lines.map(|line| line + "\n").collect();
            prop_assert_eq!(read(&again), Ok(variables));
        }
    }
}
