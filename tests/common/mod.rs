//! Shared by integration tests: the program, crafted captures, network namespaces.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod netns;
pub mod pipeline;
pub mod said;
pub mod sections;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// First arguments of a `run`: the host's /etc/synledger/synledger.toml must not change a test.
pub const RUN: [&str; 2] = ["run", "--no-config"];
/// First arguments of a `check`, for the same reason.
pub const CHECK: [&str; 2] = ["check", "--no-config"];

/// The program under test.
pub fn synledger() -> Command {
    Command::new(env!("CARGO_BIN_EXE_synledger"))
}

/// The program without privileges: as the user `nobody` if the test runs as root.
///
/// It is copied to `dir`: `nobody` may have no access to the build folder.
pub fn synledger_as_nobody(dir: &Path) -> Command {
    const NOBODY: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        return synledger();
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, open).expect("our own folder");
    let copy = dir.join("synledger");
    if !copy.exists() {
        // By a process of its own: a copy made here would be open for writing in every child that
        // another test starts meanwhile, and the kernel runs no file that is (ETXTBSY).
        let copied = Command::new("cp")
            .args([Path::new(env!("CARGO_BIN_EXE_synledger")), &copy])
            .status();
        assert!(copied.expect("cp starts").success(), "cp copies");
    }
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// Runs a command that must fail with this code and one line of our own that has all these parts.
pub fn fails(mut command: Command, code: i32, parts: &[&str]) {
    let output = command.output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {error}");
    assert!(!error.contains("panicked"), "{command:?}: {error}");
    let ours = |line: &&str| line.starts_with("synledger: ") || line.starts_with("error: ");
    // A run may print other lines of our own before it fails.
    let whole = |line: &&str| parts.iter().all(|part| line.contains(part));
    let line = error.lines().filter(ours).find(whole);
    let line =
        line.unwrap_or_else(|| panic!("{command:?} should print {parts:?} in one line: {error}"));
    eprintln!("{line}");
}

/// The same of a command line, whose `run` or `check` reads no file of this machine.
pub fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let mut command = synledger();
    match args {
        ["run", more @ ..] => command.args(RUN).args(more),
        ["check", more @ ..] => command.args(CHECK).args(more),
        _ => command.args(args),
    };
    fails(command, code, parts);
}

/// Runs `read` with `args`, text and EVE to files in `dir`; returns both logs and the output.
pub fn read_logs(dir: &Path, args: &[&str], files: &[PathBuf]) -> (Vec<u8>, Vec<u8>, Output) {
    let (text, eve) = (dir.join("log.txt"), dir.join("log.json"));
    for file in [&text, &eve] {
        let _ = std::fs::remove_file(file);
    }
    let all = "events=connection+alert+flow";
    let output = synledger()
        .arg("read")
        .args([
            "--sensor",
            "test",
            "--output",
            &format!("text:{},{all}", text.display()),
        ])
        .args(["--output", &format!("eve:{},{all}", eve.display())])
        .args(args)
        .args(files)
        .output()
        .expect("the program starts");
    let bytes = |file: &Path| std::fs::read(file).unwrap_or_default();
    (bytes(&text), bytes(&eve), output)
}

/// The folder of real captures, if there is one.
pub fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("SYNLEDGER_CAPTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
        PathBuf::from,
    );
    if folder.join("truth.csv").is_file() {
        return Some(folder);
    }
    eprintln!(
        "skipped: no real captures at {} (SYNLEDGER_CAPTURES names another folder)",
        folder.display()
    );
    None
}

/// Every file of the corpus, sorted.
pub fn corpus_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path
                .extension()
                .is_some_and(|end| end == "csv" || end == "md")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// An IP packet with a SYN.
pub fn syn(flow: craft::Flow, isn: u32) -> Vec<u8> {
    craft::Ip::new(flow.src, flow.dst, 6).bytes(&craft::Tcp::new(flow, craft::SYN, isn).bytes())
}

/// Nanosecond pcap, little-endian.
pub const NANOS: craft::PcapFormat = craft::PcapFormat::NANOS;
