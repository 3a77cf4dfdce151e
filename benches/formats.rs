//! Times records from a format through its sink: to a file, a UDP or TCP collector on loopback, a unix socket.
//!
//! A figure is CPU time of the logger's thread: rendering, joining to messages, and the system calls, in which loopback
//! also delivers. Time that it waits for a reader does not count. Each run asserts that every record was written.
//! Words on the command line choose the figures whose names contain one of them.

#[path = "loads/ended.rs"]
mod ended;
#[path = "loads/figure.rs"]
mod figure;
#[allow(dead_code, reason = "no frames are sent here")]
#[path = "loads/traffic.rs"]
mod traffic;

/// Where [`ended`] finds the connections that it ends.
mod loads {
    pub(crate) use super::traffic;
}

use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ended::ended;
use figure::{context, cpu_ns, figure, print_machine};
use synledger::log::event::Event;
use synledger::log::outputs::Outputs;
use synledger::log::reached::LogTime;
use synledger::log::sinks::spec::OutputSpec;
use traffic::event;

/// Records of a run. Some 200 MB of EVE.
const RECORDS: u32 = 300_000;
/// A reader looks so often whether the run is over.
const LOOK: Duration = Duration::from_millis(50);

/// Whoever reads what a run sends; its thread takes all there is.
struct Reader {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// `take` reads once; it returns after [`LOOK`] at most.
    fn new(mut take: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let thread = thread::spawn(move || {
            let mut bytes = vec![0; 1 << 18];
            while !seen.load(Ordering::Relaxed) {
                take(&mut bytes);
            }
        });
        Self { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader ends");
    }

    /// A UDP collector, and its address.
    fn udp() -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
        let reader = Self::new(move |bytes| drop(socket.recv(bytes)));
        (reader, format!("udp://{address}"))
    }

    /// A TCP collector, and its address.
    fn tcp() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut stream = None;
        let reader = Self::new(move |bytes| {
            let stream = stream.get_or_insert_with(|| {
                let (stream, _) = listener.accept().expect("a connection");
                stream.set_read_timeout(Some(LOOK)).expect("a socket");
                stream
            });
            drop(stream.read(bytes));
        });
        (reader, format!("tcp://{address}"))
    }

    /// A socket of this host, and its address.
    fn unix(dir: &Path) -> (Self, String) {
        let path = dir.join("socket");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
        let reader = Self::new(move |bytes| drop(socket.recv(bytes)));
        (reader, format!("unix://{}", path.display()))
    }
}

/// Where a format writes to.
#[derive(Clone, Copy)]
enum Place {
    File,
    Folder,
    Udp,
    Tcp,
    Unix,
}

/// Times these events to a place by this format.
fn time(format: &str, place: Place, what: &str, events: &[Event]) {
    let word = match place {
        Place::File | Place::Folder => "file",
        Place::Udp => "UDP",
        Place::Tcp => "TCP",
        Place::Unix => "unix socket",
    };
    figure(&format!("{format} to {word}, {what}"), events.len(), || {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log").display().to_string();
        let (reader, target) = match place {
            Place::File => (None, path),
            Place::Folder => {
                std::fs::create_dir(&path).expect("a folder");
                (None, path)
            }
            // As fast as it can: what the collector's buffer then drops is not asked for here.
            Place::Udp => of(Reader::udp(), ",pace=1000000"),
            Place::Tcp => of(Reader::tcp(), ""),
            Place::Unix => of(Reader::unix(dir.path()), ""),
        };
        let spec = format!("{format}:{target},events={what}");
        let spec: OutputSpec = spec.parse().expect("a spec");
        let took = write(&spec, events);
        if let Some(reader) = reader {
            reader.end();
        }
        took
    });
}

fn of((reader, target): (Reader, String), options: &str) -> (Option<Reader>, String) {
    (Some(reader), target + options)
}

/// Writes all events; CPU time of it.
fn write(spec: &OutputSpec, events: &[Event]) -> u128 {
    let specs = std::slice::from_ref(spec);
    let mut outputs = Outputs::open(specs, &context()).expect("outputs");
    let begin = cpu_ns();
    for event in events {
        outputs.write(event, LogTime::packet(event.step.due_ns()), 0);
    }
    outputs.finish(0);
    let took = cpu_ns() - begin;
    let kind = events[0].body.kind() as usize;
    let counts = &outputs.counts()[0];
    let all = [counts.offered[kind], counts.written[kind]];
    assert_eq!(all, [u64::from(RECORDS); 2]);
    took
}

fn main() {
    print_machine();
    let flows: Vec<Event> = (0..RECORDS).map(ended).collect();
    let attempts: Vec<Event> = (0..RECORDS).map(event).collect();
    for (format, place) in [
        ("zeek", Place::Folder),
        ("zeek-json", Place::Folder),
        ("ipfix", Place::Udp),
        ("ipfix", Place::Tcp),
        ("netflow9", Place::Udp),
        ("syslog", Place::Udp),
        ("syslog", Place::Tcp),
        ("syslog", Place::Unix),
        ("cef", Place::Udp),
        ("journald", Place::Unix),
        ("eve", Place::File),
        ("text", Place::File),
    ] {
        time(format, place, "flow", &flows);
    }
    for (format, place) in [
        ("syslog", Place::Tcp),
        ("syslog", Place::Udp),
        ("cef", Place::Tcp),
        ("eve", Place::File),
        ("text", Place::File),
    ] {
        time(format, place, "connection", &attempts);
    }
}
