//! Names that would command a terminal: none of their control characters is printed.

use super::sensor::Sensor;
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::{CHECK, RUN, synledger};
use nix::sys::signal::Signal;
use std::process::Output;

/// Red, as a terminal understands it.
const NAME: &str = "a\u{1b}[31m\u{7}";

fn assert_harmless(what: &str, text: &str) {
    let controls: Vec<char> = text
        .chars()
        .filter(|&letter| letter.is_control() && letter != '\n')
        .collect();
    assert!(controls.is_empty(), "{what}: {controls:?} in {text:?}");
}

fn assert_output(what: &str, output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        assert_harmless(what, &String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_name_of_an_interface_commands_no_terminal() {
    with_veth(|_| {
        ip(&format!("link add {NAME} type veth peer name peer0"));
        ip(&format!("link set {NAME} up"));
        ip("link set peer0 up");
        for args in [
            &["-i", NAME][..],
            &["-i", "*", "--json"],
            &["-i", "b\u{1b}[31m"],
            &["-i", "auto"],
            &["--\u{1b}[31m"],
        ] {
            let mut check = synledger();
            let output = check
                .args(CHECK)
                .args(["--listen", "0"])
                .args(args)
                .output();
            assert_output(&format!("check {args:?}"), &output.expect("it starts"));
        }
        for args in [
            &["-i", NAME, "--dry-run"][..],
            &["-i", "*,!lo", "--dry-run", "-v"],
            &["-i", "b\u{1b}[31m"],
            &["-i", SENSOR, "--sensor", NAME, "--dry-run", "-v"],
        ] {
            let output = synledger().args(RUN).args(args).output();
            assert_output(&format!("run {args:?}"), &output.expect("it starts"));
        }
        let sensor = Sensor::start(&["-v", "-i", NAME]);
        ip(&format!("link set {NAME} down"));
        sensor.wait_for_event("link_down");
        ip(&format!("link del {NAME}"));
        sensor.wait_for_event("link_removed");
        sensor.signal(Signal::SIGUSR1);
        sensor.wait_for_stderr("the books so far");
        let files = ["log.txt", "log.json", "stderr"].map(|name| sensor.path(name));
        let texts = files.map(|path| std::fs::read_to_string(path).expect("a file"));
        assert!(texts[2].contains("a_[31m_"), "{}", texts[2]);
        for text in texts {
            assert_harmless("run", &text);
        }
        let ended = sensor.stop(Signal::SIGINT);
        for text in [&ended.stderr, &ended.text] {
            assert_harmless("the end", text);
        }
    });
}
