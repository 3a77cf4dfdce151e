//! The configuration file and presets, tested by running the program.

mod common;

use common::{NANOS, synledger};
use std::fs::Permissions;
use std::net::TcpListener;
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
    let log =
        "eve:/var/log/synledger/eve.json,events=alert+stats+lifecycle+block,rotate=1d,keep=1GiB";
    let expected = [
        format!("# configuration file: {path}"),
        "# of other subcommands alone: seed".to_owned(),
        "workers = 1  # command line".to_owned(),
        "preset = \"edge\"  # command line".to_owned(),
        format!("interface = [\"lo\"]  # {path} line 2"),
        format!("ring-mib = 16  # {path} line 3"),
        format!("capture = \"headers\"  # {path} line 5"),
        format!("output = [\"{log}\"]  # preset edge"),
        "metrics = [\"127.0.0.1:9477\"]  # preset edge".to_owned(),
        "state = \"/var/lib/synledger\"  # preset edge".to_owned(),
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
        ("workers =", "line 1: workers has no value: "),
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

/// What `check` fails of a file with these lines.
fn failures(toml: &str) -> (Option<i32>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(dir.path(), &format!("interface = \"lo\"\n{toml}"));
    let args = ["check", "--json", "--listen", "0", "--config", &path];
    let found = output(&args);
    let json: serde_json::Value = serde_json::from_slice(&found.stdout)
        .unwrap_or_else(|error| panic!("{toml}: {error}: {found:?}"));
    let findings = json["findings"].as_array().expect("a list");
    let failed = findings.iter().filter(|finding| finding["level"] == "fail");
    let failed = failed.map(|finding| finding["what"].as_str().expect("a text"));
    // An unprivileged user lacks it.
    let failed = failed.filter(|what| !what.starts_with("CAP_NET_RAW"));
    let failed: Vec<String> = failed.map(|what| what.replace(&path, "FILE")).collect();
    assert_eq!(json["ready"], found.status.code() == Some(0), "{toml}");
    (found.status.code(), failed)
}

/// Files that a run refuses, why, and the place.
const REFUSED: [(&str, &str, &str); 12] = [
    (
        "output = \"json:/x\"",
        "unknown kind \"json\"",
        "--output is from FILE line 2",
    ),
    (
        "output = \"text:-,events=foo\"",
        "unknown event \"foo\"",
        "line 2",
    ),
    ("output = \"text\"", "has no colon", "line 2"),
    (
        "strict = true\noutput = \"eve:/no/such/x\"",
        "/no/such is missing: create it",
        "--output is from FILE line 3",
    ),
    (
        "cores = \"1023\"",
        "CPU 1023 ",
        "--cores is from FILE line 2",
    ),
    (
        "cores = \"0-\"",
        "must be a CPU number or a range",
        "line 2",
    ),
    (
        "user = \"nosuch\"",
        "--user nosuch: there is no such user",
        "line 2",
    ),
    (
        "state = \"/proc/foo\"",
        "/proc/foo: cannot be made",
        "--state is from FILE line 2",
    ),
    (
        "metrics = \"240.0.0.1:1\"",
        "--metrics 240.0.0.1:1: ",
        "line 2",
    ),
    (
        "witness = 1\nkey = \"vlan\"",
        "--witness 1: ",
        "--witness is from FILE line 2",
    ),
    (
        "block-kib = 512\nring-mib = 4",
        "--block-kib 512: ",
        "--block-kib is from FILE line 2",
    ),
    (
        "quiet = true\nverbose = true",
        "verbose cannot be used with quiet",
        "FILE line 3",
    ),
];

#[test]
fn check_fails_with_the_line_of_whatever_keeps_the_run_of_its_file_from_starting() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log").display().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let held = listener.local_addr().expect("bound");
    let twice = format!("output = [\"text:{log}\", \"eve:{log}\"]");
    let twice = [(&*twice, "is named twice", "line 2")];
    for (toml, what, line) in REFUSED.into_iter().chain(twice) {
        let (code, failed) = failures(toml);
        assert_eq!(code, Some(1), "{toml}");
        let [only] = &failed[..] else {
            panic!("{toml}: {failed:?}")
        };
        assert!(only.contains(what) && only.contains(line), "{toml}: {only}");
    }
    let all = "output = \"eve:/no/such/x\"\nstate = \"/proc/foo\"\nuser = \"nosuch\"";
    assert_eq!(failures(all).1.len(), 3, "each of three");
    // A sensor that runs with this file listens there.
    let good = format!("output = \"text:{log}\"\nmetrics = \"{held}\"");
    assert_eq!(failures(&good).1, Vec::<String>::new());
    assert!(!dir.path().join("log").exists(), "nothing is made");
}

#[test]
fn check_takes_its_own_flags_over_those_of_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = write(dir.path(), "block-kib = 512\nring-mib = 4\n");
    let common = ["check", "-i", "lo", "--listen", "0", "--config", &path];
    let refused = "fail  --block-kib 512: ";
    for (more, is_refused) in [(&[][..], true), (&["--ring-mib", "64"], false)] {
        let args = [&common[..], more].concat();
        let found = text(&output(&args).stdout);
        assert_eq!(found.contains(refused), is_refused, "{more:?}: {found}");
    }
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
