//! `run --takeover`: the next process goes on with rings, connections, scans and books, and nothing is lost or doubled.
//!
//! `SYNLEDGER_FUZZ=full` restarts 20 times under 200,000 packets/s instead of twice under few. That needs a program with
//! optimization: `SYNLEDGER_PROGRAM` names it.

use super::sensor::{EVENTS, PATIENCE, Sensor, attempts, number, of_type, records, scans};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENSOR, Veth, with_veth};
use crate::common::{RUN, synledger};
use craft::{ACK, Ip, Link, Tcp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use synledger::sys::memfd::{self, SumWriter};

/// `SYNLEDGER_PROGRAM`, or the one under test.
fn program() -> Command {
    std::env::var_os("SYNLEDGER_PROGRAM").map_or_else(synledger, Command::new)
}

/// Processes that write the same log, one after the other.
struct Chain {
    dir: tempfile::TempDir,
    args: Vec<String>,
    started: usize,
    running: Option<Child>,
}

impl Chain {
    fn new(args: &[&str]) -> Self {
        let mut chain = Self {
            dir: tempfile::tempdir().expect("a folder"),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            started: 0,
            running: None,
        };
        chain.running = Some(chain.spawn());
        chain.wait_for("\"event\":\"start\"", 1);
        chain
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The next process, which asks the one before.
    fn spawn(&mut self) -> Child {
        self.started += 1;
        let errors = self.path(&format!("stderr{}", self.started));
        let mut command = program();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--sensor", "test", "--fold", "0"]);
        for (kind, name) in [("text", "log.txt"), ("eve", "log.json")] {
            let output = format!("{kind}:{},{EVENTS}", self.path(name).display());
            command.args(["--output", &output]);
        }
        command
            .arg("--takeover")
            .arg(self.path("door"))
            .args(&self.args);
        command
            .stdout(Stdio::null())
            .stderr(File::create(errors).expect("a file"));
        command.spawn().expect("the program starts")
    }

    /// Waits until the log has these words so often.
    fn wait_for(&self, words: &str, count: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.content("log.json").matches(words).count() < count {
            let errors = self.content(&format!("stderr{}", self.started));
            assert!(Instant::now() < give_up, "no {words}: {errors}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Another process goes on.
    fn restart(&mut self) {
        self.restart_after(0);
    }

    /// The same, after so many processes that did not go on.
    fn restart_after(&mut self, failed: usize) {
        let next = self.spawn();
        let mut before = self.running.replace(next).expect("one runs");
        assert_eq!(before.wait().expect("it ends").code(), Some(0));
        self.wait_for("\"event\":\"taken_over\"", self.started - 1 - failed);
    }

    /// What the last process says at its end.
    fn stop(mut self) -> (Vec<Value>, String) {
        let mut last = self.running.take().expect("one runs");
        let pid = Pid::from_raw(i32::try_from(last.id()).expect("a process id"));
        kill(pid, Signal::SIGINT).expect("it runs");
        assert_eq!(last.wait().expect("it ends").code(), Some(0));
        let errors: String = (1..=self.started)
            .map(|n| self.content(&format!("stderr{n}")))
            .collect();
        assert!(!errors.contains("the sandbox refused"), "{errors}");
        assert!(errors.contains("the books close"), "{errors}");
        (records(&self.content("log.json")), errors)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}

/// How much is sent.
#[derive(Clone, Copy)]
struct Load {
    packets_per_s: u64,
    /// One in so many packets is a SYN.
    syn_in: u64,
}

/// Sends SYNs of ever new connections among data of one, until told to stop; counts SYNs and packets.
fn send(veth: Veth, load: Load, stop: &AtomicBool, sent: &[AtomicU64; 2]) {
    let sender = Sender::new(veth);
    let data = Tcp::new(flow(1, 5_000, 2, 443), ACK, 7);
    let data = Ip::new(data.flow.src, data.flow.dst, 6).bytes(&data.bytes());
    let data = Link::ethernet().frame(&data);
    let (start, mut packets, mut syns) = (Instant::now(), 0, 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_micros() * u128::from(load.packets_per_s) / 1_000_000;
        while u128::from(packets) < due {
            if packets % load.syn_in == 0 {
                sender.send(&frame(flow(1 << 16 | syns, 1_024, 9, 443), syns));
                syns += 1;
            } else {
                sender.send(&data);
            }
            packets += 1;
        }
        sent[0].store(u64::from(syns), Ordering::Relaxed);
        sent[1].store(packets, Ordering::Relaxed);
        thread::sleep(Duration::from_micros(500));
    }
}

/// What the last of the processes says is what was sent.
fn assert_exact(chain: Chain, [syns, packets]: [u64; 2], restarts: u32) {
    let (eve, errors) = chain.stop();
    let unread =
        of_type(&eve, "lifecycle").filter_map(|record| record["synledger"]["unread_ms"].as_f64());
    let unread: Vec<f64> = unread.collect();
    eprintln!("{restarts} restarts, nobody read for {unread:.0?} ms");
    assert_eq!(unread.len(), restarts as usize);
    let last = errors
        .rsplit_once("frames offered by the kernel")
        .expect("books")
        .0;
    let offered: u64 = last
        .rsplit('\n')
        .next()
        .expect("a line")
        .trim()
        .parse()
        .expect("a number");
    assert_eq!(offered, packets + u64::from(6 * restarts), "{errors}");
    assert_eq!(
        number(&errors, ", ", " dropped by full rings"),
        0,
        "{errors}"
    );
    // Each has its own initial sequence number.
    let all = attempts(&eve);
    let mut distinct = all.clone();
    distinct.dedup();
    assert_eq!(all.len(), distinct.len(), "logged twice");
    assert_eq!(all.len() as u64, syns + u64::from(6 * restarts), "missing");
    let started = scans(&eve);
    assert_eq!(started.len(), restarts as usize, "{started:?}");
    for (from, scan) in (10..).zip(&started) {
        let expected = format!("\"10.0.0.{from}\" \"198.51.100.1\" \"80-83\"");
        assert_eq!(*scan, expected, "at its fourth port");
    }
    for word in [
        "stop",
        "not_watched",
        "handover_failed",
        "loss_began",
        "books_open",
    ] {
        let of_word = |record: &&Value| record["synledger"]["event"] == word;
        let found: Vec<&Value> = of_type(&eve, "lifecycle").filter(of_word).collect();
        assert_eq!(
            found.len(),
            usize::from(word == "stop"),
            "{word}: {found:?}"
        );
    }
}

/// Restarts under load. A scan's first two ports come before each restart, the others after it.
fn restart_under_load(args: &'static [&'static str], load: Load, restarts: u32) {
    with_veth(move |veth| {
        let mut chain = Chain::new(args);
        let (stop, sent) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
        let scanner = Sender::new(veth);
        let touch =
            |from: u32, port: u16| scanner.send(&frame(flow(from, 40_000 + port, 1, port), from));
        let began = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| send(veth, load, &stop, &sent));
            for from in 10..10 + restarts {
                (80..82).for_each(|port| touch(from, port));
                thread::sleep(Duration::from_millis(300));
                chain.restart();
                (82..86).for_each(|port| touch(from, port));
                thread::sleep(Duration::from_millis(300));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let took_s = began.elapsed().as_secs_f64();
        let sent = sent.map(AtomicU64::into_inner);
        let pace = sent[1] as f64 / took_s;
        eprintln!("{} packets, {pace:.0} a second", sent[1]);
        assert_exact(chain, sent, restarts);
    });
}

const FEW: Load = Load {
    packets_per_s: 2_000,
    syn_in: 4,
};
const SMALL: &[&str] = &["--workers", "2", "--ring-mib", "32", "--memory-mib", "64"];

#[test]
fn a_restart_loses_nothing_doubles_nothing_and_goes_on_with_scans() {
    if std::env::var("SYNLEDGER_FUZZ").as_deref() != Ok("full") {
        return restart_under_load(SMALL, FEW, 2);
    }
    let load = Load {
        packets_per_s: 200_000,
        syn_in: 100,
    };
    // Behind by a second, a worker would shed data until it has caught up.
    let large = &[
        "--workers",
        "2",
        "--ring-mib",
        "256",
        "--memory-mib",
        "256",
        "--shed",
        "off",
    ];
    restart_under_load(large, load, 20);
}

/// A message as both processes send it.
fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short");
    [&[kind][..], &len.to_le_bytes(), payload].concat()
}

fn receive(stream: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a message");
    let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload).expect("all of it");
    (head[0], payload)
}

/// Terms of the least length: this layout, and no settings.
fn terms(layout: u64) -> Vec<u8> {
    [&layout.to_le_bytes()[..], &[0; 4]].concat()
}

#[test]
fn another_layout_ends_the_records_of_the_run_and_the_next_one_starts_anew() {
    with_veth(|veth| {
        let mut chain = Chain::new(SMALL);
        let sender = Sender::new(veth);
        (0..100).for_each(|from| sender.send(&frame(flow(from, 1_024, 1, 443), from)));
        let mut older = UnixStream::connect(chain.path("door")).expect("it listens");
        older.write_all(&message(b'A', &terms(7))).expect("asked");
        let (kind, why) = receive(&mut older);
        let why = String::from_utf8(why).expect("words");
        assert_eq!(kind, b'N', "{why}");
        assert!(
            why.contains("the layout of its state is") && why.contains("here 0000000000000007"),
            "{why}"
        );
        assert_eq!(
            older.read(&mut [0]).expect("the end"),
            0,
            "once the process is gone"
        );
        let code = chain
            .running
            .take()
            .expect("it ran")
            .wait()
            .expect("it ends")
            .code();
        assert_eq!(code, Some(0));
        let eve = records(&chain.content("log.json"));
        assert_eq!(attempts(&eve).len(), 100);
        assert_eq!(of_type(&eve, "flow").count(), 100, "their ends are there");
        assert!(chain.content("stderr1").contains("the books close"));
        assert!(
            !chain.path("door").exists(),
            "nobody listens there any more"
        );
        // A process of another version listens.
        let listener = UnixListener::bind(chain.path("door")).expect("bound");
        chain.running = Some(chain.spawn());
        let (mut newer, _) = listener.accept().expect("it asks");
        assert_eq!(receive(&mut newer).0, b'A');
        newer
            .write_all(&message(b'N', b"the layout is another one"))
            .expect("answered");
        drop((newer, listener));
        chain.wait_for("\"event\":\"start\"", 2);
        let says = "nothing is taken over from the process before: the layout is another one; starting anew";
        assert!(
            chain.content("stderr2").contains(says),
            "{}",
            chain.content("stderr2")
        );
        let (eve, _) = chain.stop();
        assert_eq!(attempts(&eve).len(), 100, "it has seen none");
    });
}

/// A service manager's store: the program inherits what its standard input is, by this name.
fn with_store(program: &Command, name: &str, stored: File) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ exec "$0" "$@""#,
        ])
        .arg(program.get_program())
        .args(program.get_args())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .stdin(stored);
    command
}

#[test]
fn another_layout_in_the_service_managers_store_is_said_and_the_run_starts_anew() {
    with_veth(|veth| {
        let memory = memfd::create(c"old").expect("memory");
        let mut to = SumWriter::new(memory.try_clone().expect("a descriptor"));
        to.write_all(&terms(7)).expect("written");
        to.flush().expect("written");
        memfd::seal(&memory).expect("sealed");
        let mut command = program();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--fold", "0"])
            .args(SMALL);
        let mut command = with_store(&command, "synledger-sensor", memory);
        let sensor = Sensor::start_command(&mut command);
        let sender = Sender::new(veth);
        (0..20).for_each(|from| sender.send(&frame(flow(from, 1_024, 1, 443), from)));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let says = "nothing is taken over from the process before: the layout of its state is 0000000000000007, here ";
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert!(ended.stderr.contains("starting anew"), "{}", ended.stderr);
        assert_eq!(attempts(&ended.eve).len(), 20, "{}", ended.stderr);
    });
}

/// What a next process would ask.
fn ask_of_next(chain: &mut Chain) -> Vec<u8> {
    let door = chain.path("door");
    let kept = chain.path("kept");
    fs::rename(&door, &kept).expect("renamed");
    let listener = UnixListener::bind(&door).expect("bound");
    let mut next = chain.spawn();
    let (mut stream, _) = listener.accept().expect("it asks");
    let (kind, ask) = receive(&mut stream);
    assert_eq!(kind, b'A');
    let _ = next.kill();
    next.wait().expect("it ends");
    fs::rename(kept, door).expect("renamed");
    ask
}

#[test]
fn a_run_whose_successor_does_not_take_all_goes_on_as_if_nothing_had_happened() {
    with_veth(|veth| {
        let mut chain = Chain::new(SMALL);
        let ask = ask_of_next(&mut chain);
        let (stop, sent) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
        thread::scope(|scope| {
            scope.spawn(|| send(veth, FEW, &stop, &sent));
            let door = chain.path("door");
            let mut failed = 0;
            // It says nothing, refuses, speaks another language, or dies.
            for answer in [
                &b""[..],
                &message(b'R', b"no \x1bwish"),
                b"hello world",
                b"T",
            ] {
                let mut next = UnixStream::connect(&door).expect("it listens");
                next.write_all(&message(b'A', &ask)).expect("asked");
                let (kind, _) = receive(&mut next);
                assert_eq!(kind, b'H');
                next.write_all(answer).expect("answered");
                // Who refuses waits until that is heard; the others are gone at once.
                let waits = answer.contains(&b'R').then_some(next);
                failed += 1;
                chain.wait_for("\"event\":\"handover_failed\"", failed);
                drop(waits);
            }
            // These ask for nothing that it has.
            for ask in [
                &b""[..],
                b"A",
                b"GET / HTTP/1.1\r\n\r\n",
                &message(b'A', b"\xff\xff\xff\xff"),
                &[0xff; 4096],
            ] {
                let mut stranger = UnixStream::connect(&door).expect("it listens");
                let _ = stranger.write_all(ask);
            }
            chain.restart_after(1);
            stop.store(true, Ordering::Relaxed);
        });
        let [syns, _] = sent.map(AtomicU64::into_inner);
        let (eve, errors) = chain.stop();
        assert_eq!(
            number(&errors, ", ", " dropped by full rings"),
            0,
            "{errors}"
        );
        assert_eq!(attempts(&eve).len() as u64, syns);
        let failed = |record: &&Value| record["synledger"]["event"] == "handover_failed";
        let texts = of_type(&eve, "lifecycle").filter(failed);
        let texts: Vec<String> = texts
            .map(|record| {
                record["synledger"]["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        assert!(
            texts[1].contains("wish") && !texts[1].contains('\x1b'),
            "{texts:?}"
        );
    });
}

#[test]
fn a_successor_that_cannot_open_an_output_takes_nothing_and_the_next_one_takes_all() {
    with_veth(|veth| {
        let mut chain = Chain::new(SMALL);
        let sender = Sender::new(veth);
        let attempt = |from| sender.send(&frame(flow(from, 1_024, 1, 443), from));
        (0..50).for_each(attempt);
        let more = ["--output", "eve:/nosuch/folder/x"].map(str::to_owned);
        chain.args.extend(more);
        let failed = chain.spawn().wait().expect("it ends").code();
        let errors = chain.content("stderr2");
        assert!(
            failed != Some(0) && errors.contains("/nosuch/folder"),
            "{errors}"
        );
        chain.args.truncate(SMALL.len());
        chain.restart_after(1);
        (50..100).for_each(attempt);
        let (eve, errors) = chain.stop();
        assert_eq!(attempts(&eve).len(), 100, "{errors}");
    });
}
