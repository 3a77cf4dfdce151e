//! What people write by mistake, and the answer with the way out.

mod common;

use common::{CHECK, refused, synledger};

#[test]
fn slips_of_the_command_line_have_a_tip() {
    for (args, tip) in [
        (
            &["run", "lo"][..],
            "tip: an interface is named by -i: synledger run -i lo",
        ),
        (
            &["-i", "lo", "run"],
            "tip: flags stand behind the command: synledger run -i lo",
        ),
        (
            &["run", "-o", "text:x"],
            "tip: it has no short name: --output",
        ),
        (&["run", "--version"], "tip: synledger --version"),
    ] {
        let output = synledger().args(args).output().expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(tip), "{args:?}: {error}");
        assert!(!error.contains("--verbose"), "{args:?}: {error}");
    }
}

#[test]
fn what_was_accepted_without_a_word_is_refused_with_the_way_out() {
    for (args, expected) in [
        (
            &["run", "--shed", "auto", "--fanout", "hash"][..],
            "--shed auto: needs --fanout class",
        ),
        (
            &["run", "--local", "10.0.0.1/8"],
            "10.0.0.1/8 has bits behind its length: 10.0.0.0/8 is meant?",
        ),
        (
            &["run", "--allow", "192.0.2.1/24:80"],
            "192.0.2.0/24 is meant?",
        ),
        (
            &["run", "-i", "lo", "--output", "x.log"],
            "/run/systemd/journal/socket parquet:DIR parquet:s3://BUCKET/PREFIX blocklist:PATH",
        ),
        (
            &["run", "--cores", "0", "--workers", "2"],
            "--cores 0: 1 CPU for 2 workers",
        ),
    ] {
        refused(args, 2, &[expected]);
    }
}

#[test]
fn invalid_interfaces_are_usage_faults_in_run_and_check() {
    let starts: [&[&str]; 3] = [&["run"], &["run", "--dry-run"], &["check"]];
    for start in starts {
        let missing = "no such interface; there are";
        for (value, expected) in [
            ("", "-i: \"\" is empty: give a name"),
            (",", "-i: \"\" is empty: give a name"),
            ("lo,", "-i: \"\" is empty: give a name"),
            ("nope0", &format!("-i nope0: {missing}")),
            ("lo,!lo", "-i lo,!lo: leaves no interface"),
            (
                "a/b",
                "-i: \"a/b\" contains '/', which no interface name can",
            ),
            (
                "lo eth0",
                "contains a space, which no interface name can have: separate names by commas",
            ),
            ("lo;v0", "no such interface (separate names by commas); "),
            (
                "10.9.0.1",
                "no such interface (an address is none: `ip -br address` shows whose it is); ",
            ),
        ] {
            let args = [start, &["-i", value]].concat();
            refused(&args, 2, &[expected]);
        }
    }
    // A glob without a match is no fault: a run waits.
    let output = synledger().args(CHECK).args(["-i", "nope*"]).output();
    let output = output.expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let warning = text
        .lines()
        .find(|line| line.contains("-i nope*: no such interface"));
    assert!(
        warning.is_some_and(|line| line.starts_with("warn")),
        "{text}"
    );
    assert!(
        text.contains("`synledger run` waits until there is one."),
        "{text}"
    );
}
