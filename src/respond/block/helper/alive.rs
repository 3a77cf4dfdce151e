//! Helpers that are alive, as /proc shows them.

use super::HELPER;
use super::keeper::started;
use caps::Capability;
use std::fs;

/// A helper of the method with this word in this network namespace, in words.
pub fn alive(word: &str) -> Option<String> {
    // Of the user namespace the capability counts; in one of its own, anybody has all.
    let namespaces = ["net", "user"];
    let of = |process: &str| {
        let one = |kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
        Some([one(namespaces[0])?, one(namespaces[1])?])
    };
    let ours = of("self")?;
    let entries = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process that has ended, and that nobody has waited for, is in no namespace.
    let is_here = |pid: u32| of(&pid.to_string()).as_ref() == Some(&ours);
    let pid = pids.find(|&pid| is_helper(pid, word) && may_block(pid) && is_here(pid))?;
    Some(process(pid))
}

/// Whether a process has CAP_NET_ADMIN, as every helper: anybody can give a process the words of one.
fn may_block(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & Capability::CAP_NET_ADMIN.bitmask() != 0)
}

fn is_helper(pid: u32, word: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    let words: Vec<String> = words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    // Behind the last word there is a zero, too.
    match words.as_slice() {
        [_, first, rest @ .., _] if first == HELPER => {
            started(rest).is_some_and(|(_, start)| start.method.word == word)
        }
        _ => false,
    }
}

/// A process in words: its number and, where it is alive, its name.
pub fn process(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end().escape_debug()),
        Err(_) => format!("process {pid}"),
    }
}
