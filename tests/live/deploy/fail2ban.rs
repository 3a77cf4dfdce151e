//! The filters and the example of a jail, by fail2ban.

use super::super::conversation::write;
use super::super::programs::text_of;
use super::{
    BEGIN_S, HOSTILE, Logs, Program, SCANNER6, crafted, deploy, named, on_interface, ours, program,
    scan, sources,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The addresses that this filter of fail2ban matches, in the order of the lines. `filter`: `NAME[PARAMETERS]`.
fn matches(fail2ban: &Program, filter: &str, log: &Path) -> Vec<String> {
    output(fail2ban, filter, log, "<ip>")
}

/// What fail2ban prints of each match.
fn output(fail2ban: &Program, filter: &str, log: &Path, format: &str) -> Vec<String> {
    let (name, parameters) = filter.split_at(filter.find('[').unwrap_or(filter.len()));
    let file = deploy("fail2ban/filter.d").join(format!("{name}.conf"));
    let mut command = fail2ban.python();
    let output = command
        .arg("-c")
        .arg(fail2ban.file("etc/fail2ban"))
        .args(["-o", format])
        .arg(log)
        .arg(format!("{}{parameters}", file.display()))
        .output();
    let output = output.expect("python3 starts");
    assert!(output.status.success(), "{filter}: {}", text_of(&output));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    lines.lines().map(str::to_owned).collect()
}

/// What fail2ban must match: filter, log, and the condition of a record.
type Case = (&'static str, fn(&Logs) -> &Path, fn(&Value) -> bool);

#[test]
fn fail2ban_matches_exactly_the_scanners_of_each_verdict_and_proof() {
    let Some(fail2ban) = program("fail2ban", "fail2ban-regex") else {
        return;
    };
    let logs = crafted();
    let full: fn(&Logs) -> &Path = |logs| &logs.full;
    let eve: fn(&Logs) -> &Path = |logs| &logs.eve;
    let cases: [Case; 7] = [
        ("synledger", full, |scan| scan["verdict"] == "scan"),
        ("synledger[verdict=suspicious]", full, |scan| {
            scan["verdict"] != "unproven"
        }),
        ("synledger[verdict=any]", full, |_| true),
        // Short lines have no verdict where a scan begins.
        (
            "synledger",
            |logs| &logs.short,
            |scan| scan["verdict"] == "scan" && scan["phase"] == "continues",
        ),
        ("synledger-eve", eve, |scan| {
            scan["verdict"] == "scan" && scan["proof"] == "handshake"
        }),
        ("synledger-eve[proof=any]", eve, |scan| {
            scan["verdict"] == "scan"
        }),
        ("synledger-eve[verdict=suspicious]", eve, |scan| {
            scan["verdict"] != "unproven" && scan["proof"] == "handshake"
        }),
    ];
    for (filter, log, takes) in cases {
        let expected = logs.expected(takes);
        assert!(expected.len() > 3, "{filter}: {} of them", expected.len());
        assert_eq!(
            matches(&fail2ban, filter, log(&logs)),
            sources(&expected),
            "{filter}"
        );
    }
    let kinds: BTreeSet<&str> = logs
        .alerts
        .iter()
        .filter_map(|alert| scan(alert)["kind"].as_str())
        .collect();
    assert_eq!(kinds.len(), 10, "every kind is in these logs: {kinds:?}");
    let networks = logs.expected(|scan| scan["verdict"] == "scan" && scan["src_prefix"].is_u64());
    assert!(!networks.is_empty(), "a network is among the sources");
}

#[test]
fn fail2ban_takes_the_source_whole_and_nothing_from_names() {
    let Some(fail2ban) = program("fail2ban", "fail2ban-regex") else {
        return;
    };
    let frames = [named(), ours()].concat();
    for name in HOSTILE {
        let args = ["--sensor", name, "--local", "192.0.2.0/24"];
        let captures = [("named", on_interface(name, &frames))];
        let logs = Logs::of(&args, captures.into_iter());
        let once = |log: &Path, filter| {
            let found = matches(&fail2ban, filter, log);
            let lines = fs::read_to_string(log).expect("a log");
            assert!(!found.is_empty(), "{filter}: {lines}");
            found.into_iter().collect::<BTreeSet<_>>()
        };
        let all = ["203.0.113.56", "203.0.113.99", SCANNER6].map(str::to_owned);
        assert_eq!(once(&logs.full, "synledger"), all.clone().into(), "{name}");
        // Proven; and our own host, whose alerts only `--scan-scope all` has in EVE.
        let proven = ["192.0.2.1", "203.0.113.56", SCANNER6].map(str::to_owned);
        assert_eq!(once(&logs.eve, "synledger-eve"), proven.into(), "{name}");
        let mut any = BTreeSet::from(all);
        any.insert("203.0.113.7".to_owned());
        for log in [&logs.full, &logs.short] {
            let found = once(log, "synledger[verdict=any]");
            // Short lines do not say that a scan is our own.
            let found: BTreeSet<_> = found
                .into_iter()
                .filter(|source| source != "192.0.2.1")
                .collect();
            assert_eq!(found, any, "{name}");
        }
    }
}

#[test]
fn fail2ban_reads_the_time_of_a_line_as_utc_in_any_zone() {
    let Some(fail2ban) = program("fail2ban", "fail2ban-regex") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let capture = fs::read(write(dir.path(), &named())).expect("a capture");
    let logs = Logs::of(&[], [("named", capture)].into_iter());
    for (filter, log) in [("synledger", &logs.full), ("synledger-eve", &logs.eve)] {
        let times = output(&fail2ban, filter, log, "<time>");
        assert!(!times.is_empty(), "{filter}");
        for time in times {
            let seconds: f64 = time.parse().expect("seconds");
            let since = seconds - BEGIN_S;
            assert!((0.0..10.0).contains(&since), "{filter}: {time}");
        }
    }
}

#[test]
fn the_example_of_a_jail_is_one_that_fail2ban_takes() {
    let Some(fail2ban) = program("fail2ban", "fail2ban-client") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path();
    let copied = Command::new("cp")
        .args(["-r", "--dereference"])
        .arg(fail2ban.file("etc/fail2ban/."))
        .arg(deploy("fail2ban/."))
        .arg(config)
        .status();
    assert!(copied.expect("cp starts").success(), "cp copies");
    let log = config.join("log");
    fs::write(&log, "").expect("a file");
    let local = format!(
        "[sshd]\nenabled = false\n[synledger]\nlogpath = {0}\n[synledger-text]\nenabled = true\nlogpath = {0}\n",
        log.display()
    );
    fs::write(config.join("jail.local"), local).expect("a file");
    let output = fail2ban.python().arg("-c").arg(config).arg("-d").output();
    let output = output.expect("python3 starts");
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    for jail in ["synledger", "synledger-text"] {
        for setting in ["'maxretry', 1]", "'bantime', '10m']"] {
            let line = format!("['set', '{jail}', {setting}");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains(&format!("['start', '{jail}']")), "{text}");
    }
    assert!(!text.contains("ERROR"), "{text}");
}
