//! What was probably meant by a command line that the parser refuses.

use crate::settings::program::program;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Adds a tip to the error, where its cause is a known slip. `words`: the command line, with the program's name.
pub fn add(error: &mut clap::Error, words: impl IntoIterator<Item = OsString>) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let words = words.into_iter().skip(1);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let Some(tip) = tip(wrong, &words) {
        // Not the flag whose letters are near, nor its usage.
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tip);
    }
}

/// `wrong`: what the parser refuses of the words.
fn tip(wrong: &str, words: &[String]) -> Option<String> {
    let program = program();
    let is_command = |word: &String| program.find_subcommand(word).is_some();
    let at = words.iter().position(is_command);
    match (wrong, at) {
        ("--version" | "-V", Some(_)) => Some("synledger --version".to_owned()),
        ("-o", Some(0)) => Some("it has no short name: --output KIND:TARGET".to_owned()),
        // The parser stopped in front of the command.
        (_, Some(1..)) if wrong.starts_with('-') => {
            let (before, command) = (words[..at?].join(" "), &words[at?]);
            Some(format!(
                "flags stand behind the command: synledger {command} {before}"
            ))
        }
        (name, Some(0)) if words[0] != "block" && !name.starts_with('-') => Some(format!(
            "an interface is named by -i: synledger {} -i {name}",
            words[0]
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slips_have_a_tip_and_others_none() {
        for (line, wrong, expected) in [
            (
                "run lo",
                "lo",
                "an interface is named by -i: synledger run -i lo",
            ),
            (
                "check lo",
                "lo",
                "an interface is named by -i: synledger check -i lo",
            ),
            (
                "-i lo run",
                "-i",
                "flags stand behind the command: synledger run -i lo",
            ),
            (
                "run -o text:x",
                "-o",
                "it has no short name: --output KIND:TARGET",
            ),
            ("run --version", "--version", "synledger --version"),
            ("run --verbos", "--verbos", ""),
            ("--verbos", "--verbos", ""),
            ("block lo", "lo", ""),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let tip = tip(wrong, &words);
            assert_eq!(tip.unwrap_or_default(), expected, "{line}");
        }
    }
}
