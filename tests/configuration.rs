//! The configuration file and presets, tested by running the program.

mod common;

use common::{NANOS, synledger};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Writes a file with this text into `dir`; returns its path.
fn write(dir: &Path, text: &str) -> String {
    let path = dir.join("f.toml");
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

fn output(args: &[&str]) -> Output {
    synledger().args(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The settings that `run --dry-run` shows, whether or not it could start.
fn settings(output: &Output) -> Vec<String> {
    let shown = text(&output.stdout);
    let lines = shown.lines().skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn a_dry_run_shows_each_setting_with_its_source() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(
        dir.path(),
        "# ours\ninterface = [\"lo\"]\nring-mib = 16\nseed = 7\ncapture = \"headers\"\n",
    );
    let args = [
        "run",
        "--config",
        &path,
        "--dry-run",
        "--workers=1",
        "--preset",
        "edge",
    ];
    let shown = settings(&output(&args));
    let log = "eve:/var/log/synledger/eve.json,events=alert+stats+lifecycle";
    let expected = [
        format!("# configuration file: {path}"),
        "# of other subcommands alone: seed".to_owned(),
        "workers = 1  # command line".to_owned(),
        "preset = \"edge\"  # command line".to_owned(),
        format!("interface = [\"lo\"]  # {path} line 2"),
        format!("ring-mib = 16  # {path} line 3"),
        format!("capture = \"headers\"  # {path} line 5"),
        format!("output = [\"{log}\"]  # preset edge"),
        "metrics = \"127.0.0.1:9477\"  # preset edge".to_owned(),
    ];
    assert_eq!(shown, expected);
    let plain = output(&["run", "--no-config", "-i", "lo", "--dry-run"]);
    let expected = [
        "# configuration file: none",
        "interface = [\"lo\"]  # command line",
    ];
    assert_eq!(settings(&plain), expected);
}

#[test]
fn verbose_shows_each_setting_with_its_source() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(dir.path(), "interface = \"lo\"\n");
    let args = ["run", "--config", &path, "--dry-run"];
    let expected = format!("synledger: settings: interface = [\"lo\"]  # {path} line 1\n");
    let verbose = text(&output(&[&args[..], &["-v"]].concat()).stderr);
    assert!(verbose.contains(&expected), "{verbose}");
    let plain = text(&output(&args).stderr);
    assert!(!plain.contains("settings"), "{plain}");
}

#[test]
fn the_settings_of_a_dry_run_are_an_equal_configuration_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let flags = [
        "-i",
        "lo,!veth*",
        "--local",
        "10.0.0.0/8",
        "--local=::1",
        "--strict",
    ];
    let args = [
        &["run", "--no-config", "--dry-run", "--memory-mib=64"],
        &flags[..],
    ]
    .concat();
    let first = output(&args);
    let path = write(dir.path(), &settings(&first).join("\n"));
    let second = output(&["run", "--config", &path, "--dry-run"]);
    let values = |output: &Output| -> Vec<String> {
        let lines = settings(output).into_iter();
        let lines = lines.filter_map(|line| Some(line.split_once("  # ")?.0.to_owned()));
        lines.collect()
    };
    assert_eq!(values(&first).len(), 4, "{first:?}");
    assert_eq!(values(&second), values(&first));
    let memory = |output: &Output| {
        let shown = text(&output.stdout);
        let memory = shown
            .split_once("memory of the process")
            .map(|(_, memory)| memory.to_owned());
        memory.expect("it is shown")
    };
    assert_eq!(memory(&second), memory(&first));
}

#[test]
fn an_error_in_a_file_is_a_usage_fault_that_names_file_and_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(dir.path(), "");
    for (toml, expected) in [
        (
            "workers = 0",
            "line 1: workers = 0: must be a whole number from 1 to 64",
        ),
        (
            "\nring_mib = 8",
            "line 2: unknown key ring_mib: did you mean ring-mib?",
        ),
        ("workers =", "line 1: no TOML: "),
        ("[run]", "line 1: run is a table"),
        (
            "workers = 1\nworkers = 1",
            "line 2: workers is given a second time",
        ),
    ] {
        write(dir.path(), toml);
        for subcommand in ["run", "check"] {
            let mut command = synledger();
            command.args([subcommand, "--config", &path]);
            common::fails(command, 2, &[&format!("synledger: {path} {expected}")]);
        }
        let mut command = synledger();
        command.args(["read", "--config", &path, "x.pcap"]);
        common::fails(command, 2, &[&format!("synledger: {path} {expected}")]);
    }
    write(dir.path(), "output = [\"text:-\", \"xml:-\"]\n");
    let mut command = synledger();
    command.args(["run", "-i", "lo", "--config", &path]);
    let expected = [
        "--output xml:-: unknown kind",
        &format!("(--output is from {path} line 1)"),
    ];
    common::fails(command, 2, &expected);
    let missing = format!("{path}.missing");
    let folder = dir.path().display().to_string();
    for (path, expected) in [(&missing, "No such file"), (&folder, "Is a directory")] {
        let mut command = synledger();
        command.args(["run", "--config", path]);
        common::fails(command, 2, &["configuration file", path, expected]);
    }
}

#[test]
fn a_file_without_read_permission_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(dir.path(), "workers = 1");
    std::fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("our own file");
    let mut command = common::synledger_as_nobody(dir.path());
    command.args(["check", "--config", &path]);
    common::fails(
        command,
        2,
        &["configuration file", &path, "Permission denied"],
    );
}

#[test]
fn read_uses_the_named_file_and_reports_keys_of_other_subcommands() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = &craft::scenarios(3)[0];
    let file = dir.path().join("one.pcap");
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a file");
    let file = file.display().to_string();
    let path = write(
        dir.path(),
        "text-format = \"full\"\ncapture = \"control\"\nmetrics = \":9477\"\n",
    );
    let plain = output(&["read", "-q", &file]);
    let named = output(&["read", "--config", &path, &file]);
    let full = output(&["read", "-q", "--text-format", "full", &file]);
    assert_ne!(plain.stdout, full.stdout);
    assert_eq!(named.stdout, full.stdout);
    let note = format!(
        "synledger: {path}: left out, for they are flags of other subcommands than read: capture, metrics\n"
    );
    assert!(text(&named.stderr).starts_with(&note), "{named:?}");
    let back = output(&[
        "read",
        "-q",
        "--config",
        &path,
        "--text-format=short",
        &file,
    ]);
    assert_eq!(back.stdout, plain.stdout);
    assert_eq!(text(&back.stderr), "");
}

#[test]
fn check_names_the_keys_that_it_uses() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(
        dir.path(),
        "interface = \"lo\"\nring-mib = 8\nstrict = true\n",
    );
    let found = text(&output(&["check", "--config", &path]).stdout);
    let expected = format!("ok    {path} was read; from it: interface, ring-mib\n");
    assert!(found.starts_with(&expected), "{found}");
}

/// Runs the program with an /etc that has only its configuration file; `None` if that is not possible here.
fn with_default_file(toml: &str, args: &[&str]) -> Option<Output> {
    let script = "mount -t tmpfs tmpfs /etc && mkdir /etc/synledger && \
                  printf '%s' \"$1\" >/etc/synledger/synledger.toml && shift && exec \"$@\"";
    let unshare = |command: &[&str]| {
        let rootless = ["--user", "--map-root-user"];
        let user = if nix::unistd::geteuid().is_root() {
            &[]
        } else {
            &rootless[..]
        };
        let words = [user, &["--mount"], command].concat();
        Command::new("unshare").args(words).output()
    };
    let possible = unshare(&["mount", "-t", "tmpfs", "tmpfs", "/etc"]);
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: needs a mount namespace of its own");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_synledger");
    let words = ["sh", "-c", script, "sh", toml, program];
    Some(unshare(&[&words[..], args].concat()).expect("unshare is here"))
}

#[test]
fn the_default_file_serves_run_and_check_but_not_read() {
    let toml = "workers = 2\nseed = 1\n";
    let Some(run) = with_default_file(toml, &["run", "-i", "lo", "--dry-run"]) else {
        return;
    };
    let path = "/etc/synledger/synledger.toml";
    let shown = settings(&run);
    assert_eq!(shown[0], format!("# configuration file: {path}"));
    assert!(
        shown.contains(&format!("workers = 2  # {path} line 1")),
        "{shown:?}"
    );
    assert!(!text(&run.stderr).contains("left out"), "{run:?}");
    let without = ["run", "-i", "lo", "--dry-run", "--no-config"];
    let without = with_default_file(toml, &without).expect("it was possible");
    assert_eq!(settings(&without)[0], "# configuration file: none");
    let check = with_default_file(toml, &["check", "--listen", "0"]).expect("it was possible");
    let expected = format!("ok    {path} was read; from it: workers\n");
    assert!(text(&check.stdout).starts_with(&expected), "{check:?}");
    let read = with_default_file("workers = 0", &["read", "/dev/null"]).expect("possible");
    assert_eq!(read.status.code(), Some(1), "{read:?}");
    let wrong = with_default_file("workers = 0", &["run", "-i", "lo"]).expect("possible");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let expected = format!("synledger: {path} line 1: workers = 0: must be a whole number");
    assert!(text(&wrong.stderr).starts_with(&expected), "{wrong:?}");
}
