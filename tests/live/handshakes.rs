//! Segments that prove a handshake, and segments that never do: live and by `read`.

use super::conversation::{Conversation, write};
use super::programs::text_of;
use super::sensor::{Sensor, number, of_type, records};
use super::traffic::{Sender, flow};
use crate::common::netns::{SENSOR, Veth, ip, with_veth};
use crate::common::read_logs;
use craft::{ACK, FIN, Flow, PSH, RST, Rng, SYN};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;

/// Basis and state of each connection, by the client's port.
type Verdicts = BTreeMap<u64, (String, String)>;

/// Frames, and the expected verdict of each connection.
#[derive(Default)]
struct Scenario {
    frames: Vec<Vec<u8>>,
    verdicts: Verdicts,
}

impl Scenario {
    /// Adds a connection whose SYN is answered, and further frames with its client's address.
    fn add(&mut self, verdict: (&str, &str), then: impl FnOnce(&Conversation) -> Vec<Vec<u8>>) {
        let port = 10_000 + u16::try_from(self.verdicts.len()).expect("few");
        let connection = Conversation::new(flow(7, port, 1, 443));
        self.frames.push(connection.up(SYN, 0, 0, b""));
        self.frames.push(connection.down(SYN | ACK, 0, 1, b""));
        self.frames.extend(then(&connection));
        let (basis, state) = verdict;
        let verdict = (basis.to_owned(), state.to_owned());
        self.verdicts.insert(u64::from(port), verdict);
    }

    /// Guesses of a spoofer, who has not seen the server's sequence number; the right one would be 1.
    fn guesses() -> Vec<u32> {
        let mut rng = Rng::new(4);
        let near = [0, 2, 3, u32::MAX, 1 << 31, (1 << 31) + 1, (1 << 31) + 2];
        let mut all = near.to_vec();
        all.extend((0..64).map(|_| rng.next_u32()).filter(|&guess| guess != 1));
        all
    }

    fn blind() -> Self {
        let mut scenario = Self::default();
        for guess in Self::guesses() {
            scenario.add(("synack", "S1"), |connection| {
                let data = connection.up(PSH | ACK, 1, guess, b"GET / HTTP/1.0\r\n\r\n");
                vec![connection.up(ACK, 1, guess, b""), data]
            });
        }
        for guess in Self::guesses() {
            scenario.add(("synack", "S2"), |connection| {
                vec![connection.up(FIN | ACK, 1, guess, b"")]
            });
            scenario.add(("synack", "RSTO"), |connection| {
                vec![connection.up(RST | ACK, 1, guess, b"")]
            });
        }
        // The server's banner was seen: what it acknowledges of the client proves nothing, and guesses are as blind.
        for guess in Self::guesses().into_iter().filter(|guess| *guess > 13) {
            scenario.add(("synack", "S1"), |connection| {
                let banner = connection.down(PSH | ACK, 1, 1, b"220 ready\r\n\r\n");
                vec![banner, connection.up(ACK, 1, guess, b"")]
            });
        }
        // Many guesses at one connection.
        scenario.add(("synack", "S1"), |connection| {
            let guesses = Self::guesses().into_iter();
            guesses
                .map(|guess| connection.up(ACK, 1, guess, b""))
                .collect()
        });
        // The server's number is right, the client's lies behind or far before it.
        for seq in [0, 1 << 31, u32::MAX] {
            scenario.add(("synack", "S1"), |connection| {
                vec![connection.up(ACK, seq, 1, b"")]
            });
        }
        // A FIN or RST that acknowledges nothing, or whose sequence number is before the connection.
        scenario.add(("synack", "S2"), |connection| {
            vec![connection.up(FIN | ACK, 1, 0, b"")]
        });
        scenario.add(("synack", "S2"), |connection| {
            vec![connection.up(FIN | ACK, u32::MAX, 1, b"")]
        });
        scenario.add(("synack", "RSTO"), |connection| {
            vec![connection.up(RST, 1, 0, b"")]
        });
        scenario.add(("synack", "RSTO"), |connection| {
            vec![connection.up(RST | ACK, 1, 0, b"")]
        });
        scenario
    }

    /// The third segment and all data are lost; FIN or RST is not. A number that the server was not seen to send is
    /// believed when the server acknowledges the FIN, if no more was lost than the window of a SYN+ACK allows.
    fn lossy() -> Self {
        let mut scenario = Self::default();
        for (seq, ack) in [(1, 1), (1, 5001), (101, 1), (400_000, 3_000_000)] {
            let basis = if ack == 1 { "handshake" } else { "synack" };
            scenario.add((basis, "S2"), |connection| {
                vec![connection.up(FIN | ACK, seq, ack, b"")]
            });
            let closed = if seq < 1 << 16 { "handshake" } else { "synack" };
            scenario.add((closed, "SF"), |connection| {
                let last = connection.down(FIN | ACK, ack, seq + 1, b"");
                vec![connection.up(FIN | ACK, seq, ack, b""), last]
            });
            scenario.add((basis, "RSTO"), |connection| {
                vec![connection.up(RST | ACK, seq, ack, b"")]
            });
        }
        // The server speaks first, and the client's first segment covers its banner.
        scenario.add(("handshake", "S1"), |connection| {
            let banner = connection.down(PSH | ACK, 1, 1, b"220 ready\r\n");
            vec![banner, connection.up(ACK, 1, 12, b"")]
        });
        // Only the third segment is lost: the first data proves the handshake.
        scenario.add(("handshake", "S1"), |connection| {
            vec![connection.up(PSH | ACK, 1, 1, b"GET / HTTP/1.0\r\n\r\n")]
        });
        scenario
    }

    /// Asserts that the frames, live and in a capture, give the expected verdicts.
    fn assert_verdicts(&self, veth: Veth, what: &str) {
        let established = self.verdicts.values();
        let established = established.filter(|(basis, _)| basis == "handshake");
        let established = established.count() as u64;
        let dir = tempfile::tempdir().expect("a folder");
        let file = write(dir.path(), &self.frames);
        let (_, eve, output) = read_logs(dir.path(), &[], &[file]);
        let text = text_of(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("the books close"), "{text}");
        assert_eq!(
            verdicts(&records(&String::from_utf8_lossy(&eve))),
            self.verdicts
        );
        assert_eq!(number(&text, "answered, ", " established"), established);

        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        self.frames.iter().for_each(|frame| sender.send(frame));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(
            ended.offered(),
            self.frames.len() as u64,
            "{}",
            ended.stderr
        );
        assert_eq!(verdicts(&ended.eve), self.verdicts);
        assert_eq!(ended.number("answered, ", " established"), established);
        eprintln!(
            "{what}: {} connections, {} frames, {established} established, live and by read",
            self.verdicts.len(),
            self.frames.len()
        );
    }
}

fn verdicts(eve: &[Value]) -> Verdicts {
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let verdict = |flow: &Value| {
        let ours = &flow["synledger"];
        let port = flow["src_port"].as_u64().expect("a port");
        (port, (word(&ours["basis"]), word(&ours["conn_state"])))
    };
    let all: Vec<_> = of_type(eve, "flow").map(verdict).collect();
    let count = all.len();
    let map: Verdicts = all.into_iter().collect();
    assert_eq!(map.len(), count, "one record a connection");
    map
}

#[test]
fn a_guessed_number_never_proves_a_handshake() {
    with_veth(|veth| Scenario::blind().assert_verdicts(veth, "blind"));
}

#[test]
fn the_end_of_a_connection_proves_its_handshake_if_data_was_lost() {
    with_veth(|veth| Scenario::lossy().assert_verdicts(veth, "through loss"));
}

#[test]
fn a_spoofer_who_guesses_at_a_real_server_establishes_nothing() {
    with_veth(|veth| {
        const FLOWS: u16 = 50;
        ip(&format!("link set {SENSOR} address 02:00:00:00:00:02"));
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        // The spoofed host has a neighbour entry but does not exist, so nothing answers with RST.
        ip(&format!(
            "neigh add 10.9.0.77 lladdr 02:00:00:00:00:01 dev {SENSOR}"
        ));
        let listener = TcpListener::bind("10.9.0.2:0").expect("a listener");
        listener.set_nonblocking(true).expect("it may be asked");
        let port = listener.local_addr().expect("an address").port();
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        for client in 0..FLOWS {
            let flow = Flow::v4([10, 9, 0, 77], 20_000 + client, [10, 9, 0, 2], port);
            // The server's number is unknown here: any guess will do.
            let connection = Conversation::new(flow);
            sender.send(&connection.up(SYN, 0, 0, b""));
            for guess in Scenario::guesses() {
                sender.send(&connection.up(ACK, 1, guess, b""));
            }
        }
        sensor.wait_for("answers", || {
            sensor
                .content("log.txt")
                .matches(": New connection: ")
                .count()
                == usize::from(FLOWS)
        });
        assert!(
            listener.accept().is_err(),
            "the server establishes nothing either"
        );
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let answered = ended.number("\n", " answered, ");
        assert_eq!(answered, u64::from(FLOWS), "{}", ended.stderr);
        assert_eq!(ended.number("answered, ", " established"), 0);
        let flows: Vec<&Value> = of_type(&ended.eve, "flow").collect();
        assert_eq!(flows.len(), usize::from(FLOWS), "{flows:?}");
        for flow in flows {
            assert_eq!(flow["synledger"]["basis"], "synack", "{flow}");
        }
        let guesses = Scenario::guesses().len();
        eprintln!(
            "spoofed to a real server: {FLOWS} connections, {guesses} guesses each, {} frames",
            ended.offered()
        );
    });
}
