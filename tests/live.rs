//! The program on a live interface: a veth pair in a namespace of its own, from start to exact books.

mod common;

use common::netns::{SENDER, SENSOR, Veth, ip, with_veth};
use common::{NANOS, read_logs, syn};
use craft::{Capture, Flow, Link, LinkType};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use synledger::capture::socket::TxSocket;

/// How long anything here may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);
const EVENTS: &str = "events=connection+alert+stats+lifecycle";

/// A running sensor; killed, whatever happens to the test.
struct Sensor {
    child: Child,
    dir: tempfile::TempDir,
}

/// How a sensor ended.
struct Ended {
    code: Option<i32>,
    says: String,
    text: String,
    eve: Vec<Value>,
}

impl Sensor {
    /// Starts the program on [`SENSOR`] and waits until it watches.
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
        Self::start_in(dir, &["--output", &text], args, Stdio::null())
    }

    fn start_in(dir: tempfile::TempDir, outputs: &[&str], args: &[&str], stdout: Stdio) -> Self {
        let eve = format!("eve:{},{EVENTS}", dir.path().join("log.json").display());
        let says = File::create(dir.path().join("says")).expect("a file");
        let child = common::synledger()
            .args(["run", "-i", SENSOR, "--ring-mib", "8", "--memory-mib", "32"])
            .args(["--sensor", "test", "--output", &eve])
            .args(outputs)
            .args(args)
            .stdout(stdout)
            .stderr(says)
            .spawn()
            .expect("the program starts");
        let sensor = Self { child, dir };
        sensor.wait_for_event("start");
        sensor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn wait_for(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !happened() {
            assert!(
                Instant::now() < give_up,
                "no {what} in {PATIENCE:?}\n{}\n{}",
                self.content("says"),
                self.content("log.txt")
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a lifecycle record.
    fn wait_for_event(&self, word: &str) {
        let event = format!("\"event\":\"{word}\"");
        self.wait_for(word, || self.content("log.json").contains(&event));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for the end and gives its exit code.
    fn exit(&mut self) -> Option<i32> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < give_up, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        let code = self.exit();
        Ended {
            code,
            says: self.content("says"),
            text: self.content("log.txt"),
            eve: records(&self.content("log.json")),
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The books closed, and the kernel lost nothing.
    fn assert_exact(&self) {
        assert_eq!(self.code, Some(0), "{}", self.says);
        assert!(self.says.contains("the books close"), "{}", self.says);
        assert_eq!(self.number(", ", " dropped by full rings"), 0);
    }

    fn offered(&self) -> u64 {
        self.number("\n", " frames offered by the kernel")
    }

    /// The number in the books that stands between `before` and `after`.
    fn number(&self, before: &str, after: &str) -> u64 {
        let until = self.says.find(after).expect(after);
        let word = self.says[..until].rsplit(before).next();
        word.expect("a word").parse().expect(&self.says)
    }

    fn lines(&self, part: &str) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.contains(part))
            .collect()
    }
}

fn records(eve: &str) -> Vec<Value> {
    eve.lines()
        .map(|line| serde_json::from_str(line).expect("JSON in each line"))
        .collect()
}

/// Attempts as a multiset: both ends, initial sequence number, VLAN tags.
fn attempts(eve: &[Value]) -> Vec<String> {
    let of = |record: &Value| {
        let field = |name: &str| record[name].to_string();
        let isn = &record["synledger"]["isn"];
        ["src_ip", "src_port", "dest_ip", "dest_port", "vlan"]
            .map(field)
            .join(" ")
            + &format!(" {isn}")
    };
    let mut all: Vec<_> = of_type(eve, "new_connection").map(of).collect();
    all.sort();
    all
}

/// Scans that started, with the ports known then.
fn scans(eve: &[Value]) -> Vec<String> {
    let mut all: Vec<_> = of_type(eve, "alert")
        .filter(|record| record["scan"]["phase"] == "started")
        .map(|record| {
            format!(
                "{} {} {}",
                record["src_ip"], record["dest_ip"], record["scan"]["port_list"]
            )
        })
        .collect();
    all.sort();
    all
}

fn of_type<'a>(eve: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    eve.iter()
        .filter(move |record| record["event_type"] == kind)
}

/// True where a program is installed; says so where it is not.
fn installed(program: &str) -> bool {
    let version = Command::new(program)
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if version.is_err() {
        eprintln!("skipped: {program} is not installed");
    }
    version.is_ok()
}

fn said(output: &Output) -> String {
    let says = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", says(&output.stdout), says(&output.stderr))
}

fn frame(flow: Flow, isn: u32) -> Vec<u8> {
    Link::ethernet().frame(&syn(flow, isn))
}

/// Between two hosts that are nobody's neighbours.
fn flow(from: u32, port: u16, to: u8, dst_port: u16) -> Flow {
    let [_, b, c, d] = from.to_be_bytes();
    Flow::v4([10, b, c, d], port, [198, 51, 100, to], dst_port)
}

struct Sender(TxSocket);

impl Sender {
    fn new(veth: Veth) -> Self {
        Self(TxSocket::open(SENDER, veth.sender).expect("a sender opens"))
    }

    fn send(&self, frame: &[u8]) {
        self.0.send(frame).expect("a frame is sent");
    }

    /// A scan of four ports from a host of its own.
    fn scan(&self, from: u32) {
        for port in 80..84 {
            self.send(&frame(flow(from, 40_000 + port, 1, port), from));
        }
    }
}

fn write(dir: &Path, capture: &Capture) -> PathBuf {
    let path = dir.join("sent.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture file");
    path
}

/// Replays a capture into [`SENDER`]; gives how many frames it says it sent.
fn replay(file: &Path, per_second: u32) -> u64 {
    let output = Command::new("tcpreplay")
        .args(["-i", SENDER, "--pps", &per_second.to_string()])
        .arg(file)
        .output()
        .expect("tcpreplay starts");
    let says = said(&output);
    assert!(output.status.success(), "{says}");
    let sent = says.split("Actual: ").nth(1).expect(&says);
    sent.split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect(&says)
}

/// nmap in a namespace of its own, against this end of the pair. The pair lives as long as the sender
/// that comes back with the output.
fn nmap(args: &'static str) -> (Output, mpsc::Sender<()>) {
    let (to_here, from_there) = mpsc::channel();
    let (done, output) = mpsc::channel();
    let (to_there, from_here) = mpsc::channel::<()>();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a second namespace");
        to_here.send(gettid()).expect("somebody waits");
        from_here.recv().expect("the pair is here");
        ip("link set lo up");
        ip(&format!("addr add 10.9.0.1/24 dev {SENDER}"));
        ip(&format!("link set {SENDER} up"));
        let output = Command::new("nmap").args(args.split(' ')).output();
        done.send(output.expect("nmap starts"))
            .expect("somebody waits");
        let _ = from_here.recv();
    });
    let there = from_there.recv().expect("a namespace");
    ip(&format!("link set {SENDER} netns {there}"));
    to_there.send(()).expect("it waits");
    (output.recv().expect("nmap ran"), to_there)
}

fn nmap_finds_a_thousand(workers: &'static str) {
    if !installed("nmap") {
        return;
    }
    with_veth(move |_| {
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        let sensor = Sensor::start(&["--workers", workers]);
        let (output, _pair) = nmap("-n -Pn -sS -p 1-1000 --max-retries 0 10.9.0.2");
        assert!(output.status.success(), "{}", said(&output));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.lines(": New connection: 10.9.0.1:").len(), 1000);
        let mut ports: Vec<u64> = of_type(&ended.eve, "new_connection")
            .map(|record| record["dest_port"].as_u64().expect("a port"))
            .collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(1..=1000));
        assert_eq!(
            ended
                .lines(": Port scan detected: 10.9.0.1 -> 10.9.0.2 on ports ")
                .len(),
            1
        );
        let end = ended.lines(": Port scan ended: ");
        assert_eq!(end.len(), 1, "{}", ended.text);
        assert!(end[0].contains("1-1000"), "{end:?}");
    });
}

#[test]
fn nmap_gives_a_thousand_connections_and_one_scan_with_one_worker() {
    nmap_finds_a_thousand("1");
}

#[test]
fn nmap_gives_a_thousand_connections_and_one_scan_with_four_workers() {
    nmap_finds_a_thousand("4");
}

/// 300 attempts, retransmissions of every third, and 5 scans of 6 ports, each between hosts of its own.
fn short_capture() -> Capture {
    let mut capture = Capture::new("short", LinkType::Ethernet);
    let mut frames = Vec::new();
    for i in 0..300_u32 {
        frames.push(frame(flow(i, 1024, 1, 443), i));
        if i.is_multiple_of(3) {
            frames.push(frame(flow(i, 1024, 1, 443), i));
        }
    }
    for scan in 0..5_u32 {
        for port in [21, 22, 23, 25, 80, 110] {
            frames.push(frame(flow(1000 + scan, 5000, 2, port), scan));
        }
    }
    for i in 0..200_u32 {
        let there = flow(2000 + i, 1024, 3, 80);
        let data = craft::Tcp::new(there, craft::ACK | craft::PSH, i).data(b"hello");
        frames.push(
            Link::ethernet().frame(&craft::Ip::new(there.src, there.dst, 6).bytes(&data.bytes())),
        );
    }
    for (i, frame) in (0_i64..).zip(frames) {
        capture.push(i * 500_000, frame);
    }
    capture
}

fn live_equals_read(workers: &'static str) {
    if !installed("tcpreplay") {
        return;
    }
    with_veth(move |_| {
        let dir = tempfile::tempdir().expect("a folder");
        let capture = short_capture();
        let file = write(dir.path(), &capture);
        let (_, eve, output) = read_logs(dir.path(), &[], std::slice::from_ref(&file));
        assert!(output.status.success(), "{}", said(&output));
        let read = records(&String::from_utf8_lossy(&eve));
        let sensor = Sensor::start(&["--workers", workers]);
        let sent = replay(&file, 5000);
        let live = sensor.stop(Signal::SIGINT);
        live.assert_exact();
        assert_eq!(sent, capture.frames.len() as u64);
        assert_eq!(live.offered(), sent, "{}", live.says);
        assert_eq!(attempts(&live.eve), attempts(&read));
        assert_eq!(attempts(&read).len(), 330);
        assert_eq!(scans(&read).len(), 5);
        if live.text.contains(": Sensor straggler: ") {
            // On a machine this busy order is not kept, and another four of six ports may be first.
            assert_eq!(scans(&live.eve).len(), 5, "{}", live.says);
        } else {
            assert_eq!(scans(&live.eve), scans(&read), "{}", live.says);
        }
    });
}

#[test]
fn a_replayed_capture_gives_what_read_gives_with_one_worker() {
    live_equals_read("1");
}

#[test]
fn a_replayed_capture_gives_what_read_gives_with_four_workers() {
    live_equals_read("4");
}

/// What the sensor's metrics say.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Frames that the kernel offered to each ring for SYNs.
fn open_rings(metrics: &str) -> Vec<u64> {
    let of_open = |line: &&str| line.contains("_ring_packets_total{") && line.contains("open");
    let value = |line: &str| line.rsplit(' ').next()?.parse().ok();
    metrics.lines().filter(of_open).filter_map(value).collect()
}

#[test]
fn a_scan_spread_over_eight_workers_is_caught_at_its_fourth_port() {
    with_veth(|veth| {
        // The hash has a new key at each start, so nobody can choose flows for workers. Of scans of
        // four flows 41 % meet four workers: that none of 64 does has a chance of 2 in 10^15.
        const SCANS: u32 = 64;
        const ADDRESS: &str = "127.0.0.1:9477";
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "8", "--metrics", ADDRESS]);
        let sender = Sender::new(veth);
        for from in 0..SCANS {
            sender.scan(from);
        }
        let mut rings = Vec::new();
        sensor.wait_for("frames in the metrics", || {
            rings = open_rings(&metrics(ADDRESS));
            rings.iter().sum::<u64>() == u64::from(4 * SCANS)
        });
        assert!(rings.len() == 8 && !rings.contains(&0), "{rings:?}");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), u64::from(4 * SCANS));
        let found = ended.lines(": Port scan detected: ");
        assert_eq!(found.len(), 64, "{}\n{}", ended.text, ended.says);
        let at_fourth = |line: &&str| line.ends_with(" on ports 80,81,82,83");
        assert!(found.iter().all(at_fourth), "{found:?}");
    });
}

/// Waits until what is sent on one end arrives at the other.
fn wait_for_link() {
    let give_up = Instant::now() + PATIENCE;
    for end in [SENDER, SENSOR] {
        loop {
            let show = Command::new("ip")
                .args(["-o", "link", "show", end])
                .output();
            if said(&show.expect("ip runs")).contains("state UP") {
                break;
            }
            assert!(Instant::now() < give_up, "{end} does not come up");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A SYN each `pause`, as far as the link lets it, for as long as `during` runs.
fn with_trickle<T>(veth: Veth, pause: Duration, during: impl FnOnce() -> T) -> T {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Sender::new(veth);
            let mut from = 1 << 20;
            while !enough.load(Ordering::Relaxed) {
                let _ = sender.0.send(&frame(flow(from, 1024, 9, 443), from));
                from += 1;
                thread::sleep(pause);
            }
        });
        // Dropped when `during` panics, too: the scope waits for the thread.
        let _end = SetAtEnd(&enough);
        during()
    })
}

fn flaps(mode: &'static str) {
    for workers in ["1", "2", "3", "4"] {
        with_veth(move |veth| {
            let sensor = Sensor::start(&["--workers", workers, "--fanout", mode]);
            let sender = Sender::new(veth);
            with_trickle(veth, Duration::from_millis(2), || {
                wait_for_link();
                (0..5).for_each(|from| sender.scan(from));
                for _ in 0..20 {
                    ip(&format!("link set {SENSOR} down"));
                    thread::sleep(Duration::from_millis(5));
                    ip(&format!("link set {SENSOR} up"));
                    thread::sleep(Duration::from_millis(5));
                }
                wait_for_link();
                (5..10).for_each(|from| sender.scan(from));
            });
            let ended = sensor.stop(Signal::SIGINT);
            let of = format!("--fanout {mode} --workers {workers}: {}", ended.says);
            assert_eq!(ended.code, Some(0), "{of}");
            assert!(ended.says.contains("the books close"), "{of}");
            assert_eq!(scans(&ended.eve).len(), 10, "{of}");
            // Every frame is a SYN of its own: each is offered once and logged once.
            let logged = of_type(&ended.eve, "new_connection").count() as u64;
            assert_eq!(ended.offered(), logged, "{of}");
            let down = |record: &&Value| record["synledger"]["event"] == "link_down";
            let downs = of_type(&ended.eve, "lifecycle").filter(down).count();
            assert_eq!(downs, 20, "{of}");
        });
    }
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_class() {
    flaps("class");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_hash() {
    flaps("hash");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_cpu() {
    flaps("cpu");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_qm() {
    flaps("qm");
}

#[test]
fn sigterm_amid_traffic_ends_with_exact_books() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let ended = with_trickle(veth, Duration::from_micros(100), || {
            let sender = Sender::new(veth);
            for from in 0..500 {
                sender.send(&frame(flow(from, 1024, 1, 443), from));
            }
            sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        let logged = ended.lines(": New connection: ").len();
        assert!(logged > 500, "{}", ended.says);
        assert_eq!(ended.offered(), logged as u64, "{}", ended.says);
    });
}

#[test]
fn sighup_opens_a_moved_log_anew() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        sender.send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.1:")
        });
        std::fs::rename(sensor.path("log.txt"), sensor.path("moved.txt")).expect("it is there");
        sensor.signal(Signal::SIGHUP);
        sensor.wait_for("new file", || sensor.path("log.txt").exists());
        sender.send(&frame(flow(2, 1024, 1, 443), 2));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.2:")
        });
        let moved = sensor.content("moved.txt");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(moved.matches(": New connection: ").count(), 1, "{moved}");
        assert_eq!(ended.lines(": New connection: ").len(), 1, "{}", ended.text);
    });
}

#[test]
fn a_reader_that_leaves_ends_the_run_well() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let mut sensor = Sensor::start_in(dir, &["--output", "text:-"], &[], Stdio::piped());
        let pipe = sensor.child.stdout.take().expect("it is piped");
        let code = with_trickle(veth, Duration::from_millis(2), || {
            let mut head = String::new();
            BufReader::new(pipe).read_line(&mut head).expect("a line");
            assert!(head.contains(": New connection: 10."), "{head}");
            sensor.exit()
        });
        assert_eq!(code, Some(0), "{}", sensor.content("says"));
    });
}

#[test]
fn tagged_frames_are_counted_once_each() {
    with_veth(|veth| {
        let links = [
            (Link::ethernet(), Value::Null),
            (Link::ethernet().vlan(7), json!([7])),
            (Link::ethernet().qinq(8, 9), json!([8, 9])),
            (Link::ethernet().vlan(10).vlan(11), json!([10, 11])),
        ];
        let sensor = Sensor::start(&["--workers", "3"]);
        let sender = Sender::new(veth);
        for (from, (link, _)) in (0..).zip(&links) {
            for port in [443, 444, 445] {
                let v4 = flow(from, port, 1, port);
                sender.send(&link.frame(&syn(v4, from)));
            }
            let [_, _, _, host] = from.to_be_bytes();
            let v6 = Flow::v6(
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)],
                1024,
                [0x2001, 0xdb8, 0, 0, 0, 0, 1, 1],
                443,
            );
            sender.send(&link.frame(&syn(v6, from)));
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), 16, "{}", ended.says);
        assert_eq!(
            ended.lines(": New connection: ").len(),
            16,
            "{}",
            ended.text
        );
        for (_, tags) in links {
            let tagged = |record: &&Value| record["vlan"] == tags;
            let count = of_type(&ended.eve, "new_connection").filter(tagged).count();
            assert_eq!(count, 4, "vlan {tags}: {:?}", attempts(&ended.eve));
        }
    });
}

#[test]
fn an_interface_that_comes_back_is_watched_again() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let send = |veth, from| Sender::new(veth).send(&frame(flow(from, 1024, 1, 443), from));
        send(veth, 1);
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.1:")
        });
        ip(&format!("link del {SENSOR}"));
        sensor.wait_for_event("link_removed");
        ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
        ip(&format!("link set {SENDER} up"));
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        sensor.wait_for_event("link_back");
        let index = |name| nix::net::if_::if_nametoindex(name).expect("it was just made");
        let veth = Veth {
            sender: index(SENDER),
            sensor: index(SENSOR),
        };
        for from in 2..102 {
            send(veth, from);
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), 101, "{}", ended.says);
        assert_eq!(
            ended.lines(": New connection: ").len(),
            101,
            "{}",
            ended.text
        );
    });
}
