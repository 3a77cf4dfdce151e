use super::*;
use crate::books::record_kind::EventKind;
use crate::log::sinks::spec::{OutputSpec, Target};
use crate::sys::passing;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

const S: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;
const FLOW: Entry = Entry {
    kind: EventKind::Flow,
    folded: 0,
};

fn at(now_ns: i64) -> Moment {
    Moment { log_ns: 0, now_ns }
}

fn open(spec: &str) -> Messages {
    let spec: OutputSpec = spec.parse().expect("a spec");
    let (Target::Collector(endpoint), crate::log::formats::SinkKind::Messages(how)) =
        (&spec.target, spec.format.sink_kind)
    else {
        panic!("no collector");
    };
    let mut sink = Messages::open(&spec, endpoint, how).expect("it opens");
    sink.set_patience(Patience::Live);
    sink
}

fn put(sink: &mut Messages, text: &[u8], now_ns: i64) -> bool {
    let Some(out) = sink.admit(FLOW, at(now_ns)) else {
        return false;
    };
    out.extend_from_slice(text);
    sink.commit(FLOW, at(now_ns));
    true
}

/// Written, dropped, pending.
fn counts(sink: &Messages) -> [u64; 3] {
    let (carried, flow) = (sink.carried(), EventKind::Flow as usize);
    let dropped = carried.dropped.iter().map(|cause| cause[flow]).sum();
    [carried.written[flow], dropped, carried.pending[flow]]
}

/// Lets the kernel's other end take what was sent.
fn settle(sink: &mut Messages, mut now_ns: i64) -> i64 {
    let give_up = Instant::now() + Duration::from_secs(10);
    while counts(sink)[2] > 0 && Instant::now() < give_up {
        sink.flush(at(now_ns));
        now_ns += 50 * MS;
        std::thread::sleep(Duration::from_millis(5));
    }
    now_ns
}

#[test]
fn each_record_is_a_datagram() {
    let collector = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = collector.local_addr().expect("bound").port();
    let mut sink = open(&format!("syslog:udp://127.0.0.1:{port}"));
    put(&mut sink, b"one", S);
    put(&mut sink, b"three", S);
    assert_eq!(counts(&sink), [0, 0, 2]);
    sink.flush(at(S));
    assert_eq!(counts(&sink), [2, 0, 0]);
    let mut bytes = [0; 100];
    let lengths = [3, 5].map(|_| collector.recv(&mut bytes).expect("a datagram"));
    assert_eq!(lengths, [3, 5]);
}

#[test]
fn a_udp_collector_that_is_down_costs_what_was_on_its_way_and_is_found_back() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    drop(taken);
    let mut sink = open(&format!("syslog:udp://{address}"));
    for number in 0..5 {
        put(&mut sink, &[b'0' + number], S);
        sink.flush(at(S));
    }
    assert_eq!(counts(&sink), [1, 0, 4], "the first was on its way");
    assert_eq!(sink.blocked(), Some(Cause::Unreachable));
    // The probe is refused, too.
    sink.flush(at(3 * S));
    sink.flush(at(3 * S + 10 * MS));
    assert_eq!(sink.channel.ready(3 * S + 900 * MS), Ready::Down);
    let collector = UdpSocket::bind(address).expect("the port again");
    sink.flush(at(6 * S));
    assert_eq!(counts(&sink), [1, 0, 4], "it may still be refused");
    sink.flush(at(6 * S + 300 * MS));
    assert_eq!(counts(&sink), [5, 0, 0]);
    assert_eq!(sink.blocked(), None);
    let mut bytes = [0; 10];
    assert_eq!(collector.recv(&mut bytes).expect("the probe"), 0);
    for number in 1..5 {
        assert_eq!(collector.recv(&mut bytes).expect("a datagram"), 1);
        assert_eq!(bytes[0], b'0' + number);
    }
}

/// Two introductions: were both sent as a probe, the second would fail in place of the look at the socket.
#[test]
fn a_refused_probe_of_ipfix_is_heard() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    drop(taken);
    let mut sink = open(&format!("ipfix:udp://{address}"));
    // A set without a record.
    let record = [1, 0, 0, 8, 0, 0, 0, 0];
    for at_s in 1..30 {
        put(&mut sink, &record, at_s * S);
        sink.flush(at(at_s * S));
        sink.flush(at(at_s * S + 500 * MS));
    }
    assert_eq!(counts(&sink), [0, 0, 29], "all wait");
}

#[test]
fn a_collector_that_stays_down_costs_records_beyond_the_buffer_and_no_time() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    drop(taken);
    let mut sink = open(&format!("syslog:tcp://{address}"));
    let start = Instant::now();
    let text = [b'x'; 1000];
    for number in 0..3000 {
        put(&mut sink, &text, S + number);
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    let [written, dropped, pending] = counts(&sink);
    assert_eq!((written, dropped + pending), (0, 3000));
    assert!(dropped > 1000 && pending > 900, "{dropped} {pending}");
    sink.close(at(2 * S));
    assert_eq!(counts(&sink), [0, 3000, 0]);
    let lost = sink.carried().dropped[Cause::Unreachable as usize][EventKind::Flow as usize];
    assert_eq!(lost, 3000);
}

/// Messages with octet counting, and what is left of one that is not whole.
fn split(mut bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut messages = Vec::new();
    loop {
        let Some(space) = bytes.iter().position(|&byte| byte == b' ') else {
            return (messages, bytes.len());
        };
        let digits = str::from_utf8(&bytes[..space]).expect("digits");
        let end = space + 1 + digits.parse::<usize>().expect("a length");
        let Some(message) = bytes.get(space + 1..end) else {
            return (messages, bytes.len());
        };
        messages.push(message.to_vec());
        bytes = &bytes[end..];
    }
}

fn read_available(stream: &mut TcpStream) -> Vec<u8> {
    let timeout = Some(Duration::from_millis(300));
    stream.set_read_timeout(timeout).expect("a time-out");
    let mut all = Vec::new();
    // Ends with the time-out, or with the connection.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn a_stream_goes_on_with_whole_messages_none_of_them_twice() {
    let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = collector.local_addr().expect("bound");
    let mut sink = open(&format!("syslog:tcp://{address}"));
    let (mut now_ns, mut received, mut next) = (S, Vec::new(), 0_u32);
    for round in 0..4 {
        // The first byte decides whether the connection is there.
        put(&mut sink, format!("{next:0>700}").as_bytes(), now_ns);
        next += 1;
        let (mut stream, _) = std::thread::scope(|scope| {
            let accepted = scope.spawn(|| collector.accept().expect("a connection"));
            while !accepted.is_finished() {
                sink.flush(at(now_ns));
                now_ns += 50 * MS;
                std::thread::sleep(Duration::from_millis(1));
            }
            accepted.join().expect("no panic")
        });
        for _ in 0..500 {
            put(&mut sink, format!("{next:0>700}").as_bytes(), now_ns);
            next += 1;
        }
        sink.flush(at(now_ns));
        let (messages, _) = split(&read_available(&mut stream));
        assert!(!messages.is_empty(), "round {round}");
        received.extend(messages);
        // More than the sockets hold, so that a message is cut; the next connection has it whole.
        for _ in 0..300 {
            put(&mut sink, format!("{next:0>700}").as_bytes(), now_ns);
            next += 1;
        }
        sink.flush(at(now_ns));
        received.extend(split(&read_available(&mut stream)).0);
        drop(stream);
    }
    let (mut stream, _) = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| collector.accept().expect("a connection"));
        put(&mut sink, b"last", now_ns);
        while !accepted.is_finished() {
            sink.flush(at(now_ns));
            now_ns += 50 * MS;
            std::thread::sleep(Duration::from_millis(1));
        }
        accepted.join().expect("no panic")
    });
    let reading = std::thread::spawn(move || read_available(&mut stream));
    settle(&mut sink, now_ns);
    let (messages, rest) = split(&reading.join().expect("no panic"));
    received.extend(messages);
    assert_eq!(rest, 0, "the last message is whole");
    let expected: Vec<Vec<u8>> = (0..next)
        .map(|number| format!("{number:0>700}").into_bytes())
        .chain([b"last".to_vec()])
        .collect();
    assert_eq!(received.len(), expected.len());
    assert!(received == expected, "each once, in order");
    assert_eq!(counts(&sink), [u64::from(next) + 1, 0, 0]);
}

#[test]
fn live_a_stream_that_nobody_reads_costs_its_own_records_and_no_time() {
    let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = collector.local_addr().expect("bound");
    let mut sink = open(&format!("syslog:tcp://{address}"));
    let (mut stream, _) = collector.accept().expect("a connection");
    let start = Instant::now();
    const RECORDS: u64 = 20_000;
    let mut now_ns = S;
    for _ in 0..RECORDS {
        put(&mut sink, &[b'x'; 1000], now_ns);
        now_ns += 1;
    }
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    let [written, dropped, pending] = counts(&sink);
    assert_eq!(written + dropped + pending, RECORDS);
    assert!(dropped > 0);
    let lost = sink.carried().dropped[Cause::Slow as usize][EventKind::Flow as usize];
    assert_eq!(lost, dropped);
    let reading = std::thread::spawn(move || read_available(&mut stream));
    settle(&mut sink, now_ns);
    let (messages, rest) = split(&reading.join().expect("no panic"));
    let [written, dropped, pending] = counts(&sink);
    assert_eq!((written + dropped, pending, rest), (RECORDS, 0, 0));
    assert_eq!(messages.len() as u64, written);
    assert_eq!(
        sink.take_recovery().expect("it recovered").lost[EventKind::Flow as usize],
        dropped
    );
}

#[test]
fn a_socket_of_this_host_may_be_missing_and_made_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let mut sink = open(&format!("syslog:unix://{}", path.display()));
    put(&mut sink, b"early", S);
    sink.flush(at(S));
    assert_eq!(
        (counts(&sink), sink.blocked()),
        ([0, 0, 1], Some(Cause::Unreachable))
    );
    let mut bytes = [0; 100];
    for round in 1..4 {
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        put(&mut sink, b"more", 2 * round * S);
        sink.flush(at(2 * round * S));
        assert_eq!(counts(&sink)[2], 0, "round {round}");
        if round == 1 {
            assert_eq!(socket.recv(&mut bytes).expect("a datagram"), 5);
        }
        assert_eq!(socket.recv(&mut bytes).expect("a datagram"), 4);
    }
}

#[test]
fn an_entry_too_large_for_a_datagram_goes_as_sealed_memory() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("journal");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut sink = open(&format!("journald:unix://{}", path.display()));
    let text = vec![b'y'; 700_000];
    put(&mut sink, &text, S);
    sink.flush(at(S));
    assert_eq!(counts(&sink), [1, 0, 0]);
    let (mut bytes, mut fds) = ([0; 10], Vec::new());
    let len = passing::receive(socket.as_fd(), &mut bytes, &mut fds).expect("a message");
    assert_eq!((len, fds.len()), (0, 1));
    let (mut memory, mut content) = (File::from(fds.remove(0)), Vec::new());
    memory.seek(SeekFrom::Start(0)).expect("memory");
    memory.read_to_end(&mut content).expect("memory");
    assert!(content == text);
}
