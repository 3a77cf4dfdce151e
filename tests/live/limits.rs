//! A run takes no more memory than its flags allow, and no more descriptors than it announces.

use super::sensor::{METRICS, Sensor, metrics};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::{CHECK, RUN, fails, synledger};
use nix::sys::signal::Signal;
use std::process::Command;
use std::thread;
use std::time::Duration;
use synledger::capture::bpf::counted::RejectCounter;
use synledger::capture::mode::FanoutMode;
use synledger::settings::descriptors::Users;

const MIB: u64 = 1 << 20;

/// Resident bytes of a process without its rings, which are kernel memory.
fn resident(pid: u32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it runs");
    let (mut rings, mut kib, mut ring) = (0, 0, false);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        // The first line of a mapping has its addresses; a field's name ends with a colon.
        if !first.ends_with(':') {
            ring = line.contains(" socket:[");
            rings += u64::from(ring);
        } else if first == "Rss:" && !ring {
            let field = line.split_whitespace().nth(1);
            kib += field.and_then(|kib| kib.parse::<u64>().ok()).expect(line);
        }
    }
    assert!(rings >= 3, "{rings} rings: {smaps}");
    kib * 1024
}

#[test]
fn a_flood_takes_no_more_than_memory_mib() {
    with_veth(|veth| {
        ip("link set lo up");
        for (mib, workers, fold) in [(24, "1", "100"), (64, "2", "0"), (64, "1", "1000")] {
            let mib_text = mib.to_string();
            let args = [
                "--memory-mib",
                &mib_text,
                "--workers",
                workers,
                "--fold",
                fold,
            ];
            let more = ["--metrics", METRICS];
            let sensor = Sensor::start(&[&args[..], &more].concat());
            let sender = Sender::new(veth);
            for n in 0..60_000_u32 {
                sender.send(&frame(flow(n, 1024, (n % 250) as u8, 80), n));
                if n % 20_000 == 0 {
                    assert!(metrics().contains("synledger_"));
                }
            }
            let taken = resident(sensor.pid());
            let ended = sensor.stop(Signal::SIGINT);
            // Exit code 1: the log's queues are small, too, and may have lost records.
            assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
            assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
            eprintln!("run, {workers} workers: {} MiB of {mib}", taken / MIB);
            assert!(taken <= mib * MIB, "{taken} bytes of {mib} MiB");
            // All tables are touched at the start.
            assert!(taken >= mib * MIB / 2, "{taken} bytes of {mib} MiB");
        }
    });
}

const MANY: usize = 60;

/// The program with these limits of open files, soft and hard.
fn limited(soft: u64, hard: u64) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_synledger")]);
    command
}

fn many_interfaces() -> Vec<&'static str> {
    for n in 0..MANY / 2 {
        ip(&format!("link add many{n}a type veth peer name many{n}b"));
        ip(&format!("link set many{n}a up"));
        ip(&format!("link set many{n}b up"));
    }
    vec!["-i", "many*", "--workers", "1", "--memory-mib", "64"]
}

#[test]
fn a_run_raises_its_limit_of_descriptors_and_opens_no_more_than_computed() {
    with_veth(|_| {
        ip("link set lo up");
        let interfaces = many_interfaces();
        let witness = ["--witness", "1", "--metrics", METRICS];
        for (more, fanout) in [
            (&[][..], FanoutMode::Class),
            (&witness[..], FanoutMode::Class),
            (&["--fanout", "hash"], FanoutMode::Hash),
            (&["--capture", "control"], FanoutMode::Class),
        ] {
            let users = Users {
                workers: 1,
                fanout,
                counts_filtered: fanout == FanoutMode::Class && RejectCounter::is_allowed(),
                witness: more.contains(&"--witness"),
                outputs: 2,
                metrics: usize::from(more.contains(&"--metrics")),
                status: false,
            };
            let needed = users.needed(MANY);
            let mut command = limited(64, needed);
            command.args(RUN).args(&interfaces).args(more);
            let sensor = Sensor::start_command(&mut command);
            if users.witness {
                assert!(metrics().contains("synledger_"));
            }
            let fds = std::fs::read_dir(format!("/proc/{}/fd", sensor.pid())).expect("it runs");
            let open = fds.count() as u64;
            let ended = sensor.stop(Signal::SIGINT);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            eprintln!("{more:?}: {open} descriptors of {needed}");
            assert!(open <= needed, "{open} descriptors, {needed} computed");
            assert!(open > 64 && needed < open + 80, "{open} of {needed}");
        }
    });
}

/// Descriptors of a sensor with these arguments; `dropped`: capabilities that it is started without.
fn descriptors(dropped: &str, interfaces: &str, args: &[&str]) -> u64 {
    let mut command = match dropped {
        "" => synledger(),
        dropped => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", dropped, "--inh-caps", dropped]);
            command.arg(env!("CARGO_BIN_EXE_synledger"));
            command
        }
    };
    command.args(RUN);
    command.args(["-i", interfaces, "--ring-mib", "8", "--memory-mib", "64"]);
    let sensor = Sensor::start_command(command.args(args));
    let open = kept_open(&sensor);
    let ended = sensor.stop(Signal::SIGINT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    open
}

/// Descriptors that stay open: a file that is read every second (`/proc`, `/sys`) is in some of the looks only.
fn kept_open(sensor: &Sensor) -> u64 {
    let look = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", sensor.pid())).expect("it runs");
        open.count() as u64
    };
    let looks = (0..40).map(|_| {
        thread::sleep(Duration::from_millis(10));
        look()
    });
    looks.min().expect("there are looks")
}

#[test]
fn an_interface_takes_as_many_descriptors_as_computed() {
    with_veth(|_| {
        if Command::new("setpriv").arg("--version").output().is_err() {
            return eprintln!("skipped: needs setpriv (util-linux)");
        }
        for name in ["more1", "more2"] {
            ip(&format!("link add {name} type veth peer name {name}b"));
            ip(&format!("link set {name} up"));
        }
        let three = format!("{SENSOR},more1,more2");
        let without = "-bpf,-sys_admin";
        for (dropped, workers, more, counted) in [
            ("", 1, &[][..], true),
            ("", 2, &[], true),
            (without, 1, &[], false),
            ("", 1, &["--shed", "off"], false),
            ("", 1, &["--capture", "control", "--shed", "off"], true),
            ("", 2, &["--fanout", "hash"], false),
            ("", 1, &["--witness", "1"], true),
        ] {
            let users = Users {
                workers,
                fanout: match more.contains(&"hash") {
                    true => FanoutMode::Hash,
                    false => FanoutMode::Class,
                },
                counts_filtered: counted && RejectCounter::is_allowed(),
                witness: more.contains(&"--witness"),
                outputs: 2,
                metrics: usize::from(more.contains(&"--metrics")),
                status: false,
            };
            let workers = workers.to_string();
            let args = [&["--workers", &workers], more].concat();
            let [one, all] =
                [SENSOR, &three].map(|interfaces| descriptors(dropped, interfaces, &args));
            let each = users.per_interface();
            assert_eq!(all - one, 2 * each, "{dropped} {args:?}: {one}, {all}");
            assert!(all <= users.needed(3), "{dropped} {args:?}: {all}");
        }
    });
}

#[test]
fn too_few_descriptors_are_refused_before_anything_is_opened() {
    with_veth(|_| {
        let interfaces = many_interfaces();
        let each = if RejectCounter::is_allowed() { 5 } else { 3 };
        // The last two: what the worker needs to hand over.
        let needed = 61 * each + 1 + 64 + 2;
        let expected = format!("200 open files allowed at most, {needed} needed");
        let way_out = format!("ulimit -n {needed}");
        for more in [&[][..], &["--dry-run"]] {
            let mut command = limited(64, 200);
            command.args(RUN).args(&interfaces).args(more);
            fails(
                command,
                1,
                &[&expected, &way_out, &format!("LimitNOFILE={needed}")],
            );
        }
        let mut command = limited(64, 200);
        let check = command
            .args(CHECK)
            .args(["--listen", "0"])
            .args(&interfaces)
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&check.stdout);
        assert_eq!(check.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("fail  {expected}")), "{text}");
        assert!(text.contains(&way_out), "{text}");
    });
}

#[test]
fn interfaces_share_the_rings_and_too_many_are_refused() {
    with_veth(|_| {
        let interfaces = many_interfaces();
        let mut command = synledger();
        let rings = ["--ring-mib", "32"];
        command.args(RUN).args(&interfaces).args(rings);
        let expected = "--ring-mib 32: shared by 60 interfaces it leaves 546 KiB each, at least 1 MiB is needed: \
                    --ring-mib 60, or watch fewer interfaces";
        fails(command, 2, &[expected]);
        let mut command = synledger();
        let check = command.args(CHECK).args(["--listen", "0"]);
        let check = check.args(&interfaces).args(rings).output();
        let check = check.expect("it starts");
        let text = String::from_utf8_lossy(&check.stdout);
        assert!(
            text.contains("fail  --ring-mib 32: shared by 60 interfaces"),
            "{text}"
        );
        let sum = |args: &[&str]| {
            let mut command = synledger();
            command
                .args(RUN)
                .args(["--dry-run", "-q"])
                .args(&interfaces)
                .args(args);
            let output = command.output().expect("it starts");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text
                .lines()
                .find(|line| line.ends_with("1 worker x 60 interfaces"));
            let line = line.unwrap_or_else(|| panic!("{output:?}"));
            let mib = line
                .split_whitespace()
                .next()
                .and_then(|mib| mib.parse::<f64>().ok());
            mib.expect("a number")
        };
        let shared = sum(&[]);
        assert!(shared <= 64.0 && shared > 56.0, "{shared}");
        assert_eq!(sum(&["--witness", "1"]), shared + 60.0);
        assert_eq!(sum(&["--ring-per-interface", "--ring-mib", "4"]), 240.0);
    });
}

/// The kernel accepts the smallest share of an interface, and a recreated interface gets it again.
#[test]
fn the_smallest_share_works_and_is_kept_by_an_interface_that_comes_back() {
    with_veth(|veth| {
        for n in 0..3 {
            ip(&format!("link add many{n} type veth peer name peer{n}"));
            ip(&format!("link set many{n} up"));
            ip(&format!("link set peer{n} up"));
        }
        let all = format!("{SENSOR},many*");
        let mut command = synledger();
        command
            .args(RUN)
            .args(["-i", &all, "--ring-mib", "4", "--workers", "1"]);
        command.args(["--memory-mib", "32", "--capture", "full"]);
        let sensor = Sensor::start_command(&mut command);
        let rings = || {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", sensor.pid()));
            let maps = maps.expect("it runs");
            let of_sockets = maps.lines().filter(|line| line.contains(" socket:["));
            let mut kib: Vec<u64> = of_sockets
                .map(|line| {
                    let (from, to) = line
                        .split_once(' ')
                        .expect("a range")
                        .0
                        .split_once('-')
                        .expect("two");
                    let at = |hex| u64::from_str_radix(hex, 16).expect("an address");
                    (at(to) - at(from)) / 1024
                })
                .collect();
            kib.sort_unstable();
            kib
        };
        let expected = [[128; 4], [256; 4], [640; 4]].concat();
        sensor.wait_for("rings", || rings() == expected);
        ip("link del many1");
        sensor.wait_for_event("link_removed");
        ip("link add many1 type veth peer name peer1");
        ip("link set many1 up");
        ip("link set peer1 up");
        sensor.wait_for_event("link_back");
        sensor.wait_for("the old rings to go", || rings() == expected);
        Sender::new(veth).scan(77);
        sensor.wait_for("a scan", || {
            sensor.content("log.json").contains("\"alert\"")
        });
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
    });
}
