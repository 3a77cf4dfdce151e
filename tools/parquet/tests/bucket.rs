//! The program on a bucket that is slow, away, refuses, and comes back: no row lost, none twice, no secret printed.

mod common;
mod server;

use common::{fill, numbers, program, segment, waiting};
use server::{Mode, Server};
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const KEY: &str = "AKIDTESTKEY";
const SECRET: &str = "wJalrXUtnFEMI/secret";

fn with_server(command: &mut Command, server: &Server) {
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    command
        .args(["--endpoint", &endpoint, "--allow-http"])
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_REGION", "us-east-1");
}

fn stored(server: &Server) -> Vec<i64> {
    let each = |(key, file): (String, Vec<u8>)| {
        assert!(key.starts_with("bucket/a/date=1970-01-01/hour="), "{key}");
        numbers(file)
    };
    let mut all: Vec<i64> = server.objects().into_iter().flat_map(each).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_store_that_is_taken_away_and_brought_back_gets_each_row_once() {
    let spool = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    server.set(Mode::Away);
    let rows = fill(spool.path(), 6, 300);
    let mut command = program(spool.path(), "s3://bucket/a");
    with_server(&mut command, &server);
    command.args(["--period", "0", "--once"]);
    let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    sleep(Duration::from_millis(800));
    assert_eq!(waiting(spool.path()), 6, "nothing leaves the spool");
    for mode in [
        Mode::Unavailable,
        Mode::CutShort,
        Mode::Slow,
        Mode::Away,
        Mode::Good,
    ] {
        server.set(mode);
        sleep(Duration::from_millis(700));
    }
    let ended = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert_eq!(stored(&server), (0..rows).collect::<Vec<_>>());
    assert_eq!(waiting(spool.path()), 0);
    assert!(said.contains("\"synledger_parquet\":\"failed\""), "{said}");
    assert!(said.contains("503"), "the answer is named: {said}");
    assert!(!said.contains(KEY) && !said.contains(SECRET), "{said}");
    eprintln!(
        "{} requests, {} of them failed",
        server.requests(),
        server.failures()
    );
}

#[test]
fn a_large_file_goes_in_parts_and_is_there_whole_or_not_at_all() {
    let spool = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    // Three hours of 300 rows of 40 kB: 12 MB in each file.
    let bytes = segment(0..900, 40_000);
    fs::write(spool.path().join("1.rows"), bytes).expect("written");
    server.set(Mode::NoEnd);
    let mut command = program(spool.path(), "s3://bucket/a");
    with_server(&mut command, &server);
    command
        .args(["--period", "0", "--once"])
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    sleep(Duration::from_secs(4));
    assert!(server.objects().is_empty(), "parts alone are no file");
    assert_eq!(waiting(spool.path()), 1);
    server.set(Mode::Good);
    assert!(child.wait().expect("ended").success());
    assert_eq!(stored(&server), (0..900).collect::<Vec<_>>());
    assert!(server.parts() >= 6, "{}", server.parts());
    assert_eq!(
        server.left_over(),
        0,
        "parts of uploads that failed are removed"
    );
}

#[test]
fn credentials_come_from_a_file_and_neither_errors_nor_a_dry_run_show_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).expect("made");
    fill(&spool, 1, 9);
    let file = dir.path().join("credentials");
    let text = format!("aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    let server = Server::start();
    let run = |more: &[&str]| {
        let mut command = program(&spool, "s3://bucket/a");
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        command.args(["--endpoint", &endpoint, "--allow-http"]);
        command.arg("--credentials").arg(&file).args(more);
        let output = command.output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains(KEY) && !said.contains(SECRET), "{said}");
        (output.status.success(), said)
    };
    assert!(run(&["--dry-run"]).0);
    assert!(server.objects().is_empty());
    let with_user = run(&["--once", "--endpoint", "http://me:hunter2@host"]);
    assert!(!with_user.0, "{}", with_user.1);
    assert!(run(&["--once"]).0);
    assert_eq!(stored(&server), (0..9).collect::<Vec<_>>());
    assert!(
        server.saw(KEY) && !server.saw(SECRET),
        "requests are signed with the file's key"
    );
}
