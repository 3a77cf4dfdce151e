//! What a running sensor may still do: user, capabilities, system calls and files of each of its threads.

use super::interfaces::{create, pair, send, wait_for_connection};
use super::peer::own_mounts;
use super::sensor::{EVENTS, METRICS, Sensor, answer, metrics};
use crate::common::netns::{SENSOR, Veth, ip, wait_for_link, with_veth};
use crate::common::{RUN, fails, synledger, synledger_as_nobody};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, chown};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

const CAP_NET_RAW: u64 = 1 << 13;

pub fn nobody() -> (Uid, Gid) {
    let user = User::from_name("nobody").expect("a table of users");
    user.map_or((Uid::from_raw(65_534), Gid::from_raw(65_534)), |user| {
        (user.uid, user.gid)
    })
}

/// A folder of `nobody`.
pub fn folder_of_nobody() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let (uid, gid) = nobody();
    chown(dir.path(), Some(uid), Some(gid)).expect("root may");
    dir
}

/// A sensor with everything that has a thread, on [`SENSOR`].
fn start(dir: tempfile::TempDir, args: &[&str]) -> Sensor {
    let socket = dir.path().join("sock").display().to_string();
    let list = format!("blocklist:{}", dir.path().join("list").display());
    let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
    let all = [
        &["--workers", "2", "--witness", "1", "--metrics", METRICS][..],
        &["--block", "dry-run", "--status-socket", &socket],
        &["--output", &list],
        args,
    ];
    Sensor::start_in(dir, &["--output", &text], &all.concat(), Stdio::null())
}

/// Fields of `/proc/PID/task/TID/status` by thread name.
fn threads(pid: u32) -> BTreeMap<String, BTreeMap<String, String>> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let fields = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).expect("it runs");
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        let field = |(name, value): (&str, &str)| (name.to_owned(), value.trim().to_owned());
        let all: BTreeMap<String, String> = lines.map(field).collect();
        (all["Name"].clone(), all)
    };
    tasks.map(|task| fields(task.expect("a thread"))).collect()
}

/// Every thread is this user without privileges, but for CAP_NET_RAW of the main thread.
fn assert_confined(pid: u32, uid: Uid, gid: Gid) {
    let threads = threads(pid);
    let names: Vec<&str> = threads.keys().map(String::as_str).collect();
    let expected = [
        "archiver",
        "logger",
        "metrics",
        "synledger",
        "witness",
        "worker-0",
        "worker-1",
    ];
    assert_eq!(names, expected);
    for (name, status) in &threads {
        let field = |field: &str| status[field].as_str();
        let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
        assert_eq!(field("Uid"), four(uid.as_raw()), "{name}");
        assert_eq!(field("Gid"), four(gid.as_raw()), "{name}");
        let set = |set: &str| u64::from_str_radix(field(set), 16).expect("a set");
        let kept = if name == "synledger" { CAP_NET_RAW } else { 0 };
        for (one, expected) in [
            ("CapInh", 0),
            ("CapPrm", kept),
            ("CapEff", kept),
            ("CapBnd", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(set(one), expected, "{one} of {name}");
        }
        assert_eq!(field("NoNewPrivs"), "1", "{name}");
        assert_eq!(field("Seccomp"), "2", "{name}");
        assert_eq!(field("Seccomp_filters"), "2", "{name}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "no core dumps");
    // The files of a process that is not dumpable belong to root.
    let owner = std::fs::metadata(format!("/proc/{pid}/maps")).expect("it runs");
    assert_eq!(owner.uid(), 0, "dumpable");
}

/// Logs are opened again, the interface is watched again after it was made anew, clients are answered.
fn assert_works(sensor: Sensor, veth: Veth, owner: Uid) {
    send(veth, 1);
    wait_for_connection(&sensor, 1);
    std::fs::rename(sensor.path("log.txt"), sensor.path("moved.txt")).expect("it is there");
    sensor.signal(Signal::SIGHUP);
    sensor.wait_for("new file", || sensor.path("log.txt").exists());
    let about = std::fs::metadata(sensor.path("log.txt")).expect("a file");
    assert_eq!((about.uid(), about.mode() & 0o777), (owner.as_raw(), 0o640));
    ip(&format!("link del {SENSOR}"));
    sensor.wait_for_event("link_removed");
    create(SENSOR);
    ip(&format!("link set {SENSOR} up"));
    wait_for_link();
    sensor.wait_for_event("link_back");
    send(pair(), 2);
    wait_for_connection(&sensor, 2);
    let gap = || {
        let metrics = metrics();
        let mut lines = metrics.lines();
        let gap = lines.find_map(|line| line.strip_prefix("synledger_unwatched_seconds_total "));
        gap.and_then(|gap| gap.parse::<f64>().ok()).unwrap_or(0.0)
    };
    sensor.wait_for("gap in the books", || gap() > 0.0);
    assert!(answer("/healthz").contains("200 OK"));
    let socket = sensor.path("sock");
    let mut list = synledger();
    list.args(["block", "list", "--socket"]).arg(&socket);
    assert!(list.output().expect("it starts").status.success());
    sensor.signal(Signal::SIGUSR1);
    sensor.wait_for_stderr("the books so far");
    assert!(sensor.path("list").exists(), "the list is written");
    let ended = sensor.stop(Signal::SIGINT);
    ended.assert_exact();
}

#[test]
fn the_named_user_has_one_capability_in_one_thread_and_goes_on_with_all_that_it_does() {
    with_veth(|veth| {
        ip("link set lo up");
        let (uid, gid) = nobody();
        let sensor = start(folder_of_nobody(), &["--user", "nobody"]);
        assert_confined(sensor.pid(), uid, gid);
        let says = "sandbox: user nobody, CAP_NET_RAW alone, system calls by thread (seccomp)";
        sensor.wait_for_stderr(says);
        assert_works(sensor, veth, uid);
    });
}

/// What root makes for `--state` is the user's, who may start the next run by himself.
#[test]
fn the_state_folder_and_its_file_are_given_to_the_named_user() {
    with_veth(|_| {
        let dir = folder_of_nobody();
        let old = dir.path().join("old");
        std::fs::create_dir(&old).expect("a folder");
        std::fs::write(old.join("last-watched"), "").expect("a file of root's");
        for name in ["new", "old"] {
            let state = dir.path().join(name);
            let path = state.display().to_string();
            let args = ["--user", "nobody", "--state", &path];
            let eve = format!("eve:{},{EVENTS}", dir.path().join("log.json").display());
            let mut command = synledger();
            command
                .args(RUN)
                .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "128"])
                .args(["--output", &eve])
                .args(args)
                .stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("it starts");
            let file = state.join("last-watched");
            let is_written = || std::fs::read(&file).is_ok_and(|bytes| !bytes.is_empty());
            while !is_written() {
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert_eq!(child.try_wait().expect("a child"), None, "it runs");
            }
            let pid = i32::try_from(child.id()).expect("a process id");
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM)
                .expect("it runs");
            assert!(child.wait().expect("a child").success());
            let owner = |path: &Path| path.metadata().expect("it is there").uid();
            let uid = nobody().0.as_raw();
            assert_eq!(owner(&file), uid, "{name}");
            // A folder that was there stays whose it was.
            let expected = if name == "new" { uid } else { 0 };
            assert_eq!(owner(&state), expected, "{name}");
        }
    });
}

#[test]
fn root_without_a_user_of_its_own_keeps_one_capability_too() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = start(tempfile::tempdir().expect("a folder"), &["--user", "root"]);
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        assert_confined(sensor.pid(), root.0, root.1);
        assert_works(sensor, veth, root.0);
    });
}

#[test]
fn without_the_sandbox_it_keeps_what_it_had_and_says_so() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = start(tempfile::tempdir().expect("a folder"), &["--no-sandbox"]);
        for (name, status) in threads(sensor.pid()) {
            assert_eq!(status["Seccomp"], "0", "{name}");
        }
        sensor.wait_for_stderr("synledger: sandbox: off (--no-sandbox): ");
        assert_works(sensor, veth, Uid::from_raw(0));
    });
}

#[test]
fn a_user_who_cannot_open_the_outputs_or_does_not_exist_is_refused_by_name() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log").display().to_string();
        let run = |args: &[&str]| {
            let mut command = synledger();
            command.args(RUN).args(["-i", SENSOR]).args(args);
            command
        };
        let output = format!("text:{log}");
        let nobody = ["--user", "nobody", "--output", &output];
        let dry = [&nobody[..], &["--dry-run"]].concat();
        for args in [&nobody[..], &dry] {
            let parts = ["--user nobody: ", &log, "give it to nobody (chown)"];
            fails(run(args), 1, &parts);
        }
        assert!(!Path::new(&log).exists(), "nothing was made");
        let parts = ["--user no-such-user: there is no such user"];
        fails(run(&["--user", "no-such-user"]), 1, &parts);
        let mut unprivileged = synledger_as_nobody(dir.path());
        unprivileged
            .args(RUN)
            .args(["-i", SENSOR, "--user", "root"]);
        let output = unprivileged.output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "no packet socket");
    });
}

/// Adds the user `synledger` to the table of users, in the calling thread's mount namespace.
fn add_user(dir: &Path) {
    own_mounts();
    let table = std::fs::read_to_string("/etc/passwd").expect("a table of users");
    let file = dir.join("passwd");
    let user = "synledger:x:64321:64321::/nonexistent:/usr/sbin/nologin\n";
    std::fs::write(&file, table + user).expect("a file");
    let mut mount = Command::new("mount");
    mount.arg("--bind").arg(&file).arg("/etc/passwd");
    let bound = mount.status().expect("mount starts");
    assert!(bound.success());
}

#[test]
fn root_becomes_the_user_synledger_where_that_may_write_and_says_why_where_it_may_not() {
    with_veth(|veth| {
        ip("link set lo up");
        let table = tempfile::tempdir().expect("a folder");
        add_user(table.path());
        let (uid, gid) = (Uid::from_raw(64_321), Gid::from_raw(64_321));
        let own = tempfile::tempdir().expect("a folder");
        chown(own.path(), Some(uid), Some(gid)).expect("root may");
        let sensor = start(own, &[]);
        assert_confined(sensor.pid(), uid, gid);
        assert_works(sensor, veth, uid);
        let sensor = start(tempfile::tempdir().expect("a folder"), &[]);
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        assert_confined(sensor.pid(), root.0, root.1);
        let says = "synledger: hint: not as user synledger: open failed for output ";
        sensor.wait_for_stderr(says);
        sensor.wait_for_stderr("give it to synledger (chown)");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
    });
}

#[test]
fn a_folder_of_another_user_stays_open_to_root_by_one_capability_of_three_threads() {
    with_veth(|veth| {
        ip("link set lo up");
        let dir = folder_of_nobody();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).expect("root may");
        let sensor = start(dir, &["--user", "root"]);
        for (name, status) in threads(sensor.pid()) {
            let kept = match name.as_str() {
                "synledger" => "0000000000002002",
                "logger" | "archiver" => "0000000000000002",
                _ => "0000000000000000",
            };
            assert_eq!(status["CapPrm"], kept, "{name}");
        }
        sensor.wait_for_stderr("CAP_DAC_OVERRIDE");
        assert_works(sensor, veth, Uid::from_raw(0));
    });
}
