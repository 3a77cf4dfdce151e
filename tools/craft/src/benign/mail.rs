//! Servers that ask many others: mail, and a recursive resolver.

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside, public, public_v6};
use super::payload::{dns_answer, dns_question, dns_tcp, dns_truncated, tls, tls_hello};
use super::talk::By;
use super::{Known, naive};
use crate::transport::Flow;

/// Another mail server.
#[derive(Clone, Copy)]
struct Exchanger {
    host: Host,
    port: u16,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Takes,
    /// Takes mail only when it comes a second time.
    Greylists,
    Silent,
    Refuses,
}

/// A mail server that delivers to 300 others, 30 % of which are silent or refuse, and takes mail
/// of 100.
pub(super) fn mail(hour: &mut Hour) -> Known {
    let server = hour.near(public(25));
    let mut exchangers = Vec::new();
    for i in 0..300 {
        let state = match i % 10 {
            1 | 6 => State::Silent,
            4 => State::Refuses,
            8 => State::Greylists,
            _ => State::Takes,
        };
        // Some domains are served by a relay that wants submission.
        let port = match i % 23 {
            3 => 465,
            7 | 11 => 587,
            _ => 25,
        };
        let host = hour.remote();
        exchangers.push(Exchanger { host, port, state });
    }
    // A newsletter goes to all of them within four minutes, then come letters.
    for (i, &to) in (0..).zip(&exchangers) {
        let at = 2 * MINUTE + i * 800 * MS + hour.between(0, 700 * MS);
        deliver(hour, at, server, to);
    }
    for at in hour.times(6 * MINUTE, 8 * SECOND) {
        let to = hour.pick(&exchangers);
        deliver(hour, at, server, to);
    }
    let senders: Vec<Host> = (0..100).map(|_| hour.remote()).collect();
    for at in hour.times(0, 20 * SECOND) {
        let path = hour.pick(&senders);
        let path = hour.path(path, server, 25);
        letter(hour, at, path, true);
    }
    Known {
        sources: vec![server.address],
        naive: vec![
            naive(
                "host_sweep",
                "a newsletter opens port 25 of 300 hosts within four minutes",
            ),
            naive(
                "slow_scan",
                "one source uses 300 hosts, 30 % of which fail, again and again",
            ),
        ],
    }
}

/// A letter, tried again after 5 and 15 minutes if it was not taken.
fn deliver(hour: &mut Hour, at: i64, server: Host, to: Exchanger) {
    for after in [0, 5 * MINUTE, 15 * MINUTE] {
        let at = at + after + hour.between(0, SECOND);
        let path = hour.path(server, to.host, to.port);
        match to.state {
            State::Takes => {
                letter(hour, at, path, true);
                return;
            }
            State::Greylists => {
                letter(hour, at, path, after > 0);
                if after > 0 {
                    return;
                }
            }
            State::Silent => drop(hour.silent(at, path, 3)),
            State::Refuses => drop(hour.refused(at, path)),
        }
    }
}

fn letter(hour: &mut Hour, at: i64, path: Path, taken: bool) {
    let mut talk = hour.open(at, path);
    if path.flow.dst_port == 465 {
        let (hello, answer) = (
            tls_hello(&mut hour.rng, 300),
            tls_hello(&mut hour.rng, 2000),
        );
        hour.exchange(&mut talk, &hello, &answer);
        let (text, done) = (tls(&mut hour.rng, 3000), tls(&mut hour.rng, 80));
        hour.exchange(&mut talk, &text, &done);
    } else {
        hour.say(&mut talk, By::Server, b"220 mail ready\r\n");
        hour.exchange(&mut talk, b"EHLO mx.example.net\r\n", b"250 okay\r\n");
        hour.exchange(&mut talk, b"MAIL FROM:<a@example.net>\r\n", b"250 okay\r\n");
        if taken {
            hour.exchange(&mut talk, b"RCPT TO:<b@example.org>\r\n", b"250 okay\r\n");
            let text = [&[b'x'; 2500][..], b"\r\n.\r\n"].concat();
            hour.exchange(&mut talk, &text, b"250 queued\r\n");
        } else {
            hour.exchange(&mut talk, b"RCPT TO:<b@example.org>\r\n", b"451 later\r\n");
        }
        hour.exchange(&mut talk, b"QUIT\r\n", b"221 bye\r\n");
    }
    hour.close(talk, By::Server);
}

/// A name server that the resolver asks.
#[derive(Clone, Copy)]
struct Server {
    host: Host,
    v6: Option<Host>,
    dead: bool,
}

/// A recursive resolver, its 30 clients, and 400 servers.
pub(super) fn resolver(hour: &mut Hour) -> Known {
    let own = (hour.near(public(53)), hour.near(public_v6(53, 53)));
    let clients: Vec<Host> = (1..=30).map(|i| hour.near(inside(70, 0, i))).collect();
    let mut servers = Vec::new();
    for i in 0..400 {
        let v6 = (i % 4 == 0).then(|| hour.remote_v6());
        let (host, dead) = (hour.remote(), i % 16 == 5);
        servers.push(Server { host, v6, dead });
    }
    for at in hour.times(0, SECOND / 3) {
        let client = hour.pick(&clients);
        let flow = hour.path(client, own.0, 53).flow;
        let (id, label) = (hour.rng.next_u16(), hour.rng.below(10_000));
        hour.udp(at, flow, &dns_question(id, 1, label));
        let mut now = at + MS / 5;
        if hour.percent(40) {
            for _ in 0..hour.between(1, 3) {
                now = ask(hour, now, own, &servers);
            }
        }
        hour.udp(now, flow.reversed(), &dns_answer(id, 1, label, 2));
    }
    let unheard = unasked(hour, own.0);
    Known {
        sources: vec![own.0.address, own.1.address, unheard.address],
        naive: vec![
            naive(
                "udp_scan",
                "answers go to a new port of the resolver each; of one server's the questions take \
                 a path that the sensor does not see",
            ),
            naive(
                "slow_scan",
                "questions by TCP go to many servers; some of them have no TCP",
            ),
        ],
    }
}

/// Asks servers until one answers; returns the time of the answer.
fn ask(hour: &mut Hour, at: i64, own: (Host, Host), servers: &[Server]) -> i64 {
    let mut now = at;
    loop {
        let server = hour.pick(servers);
        let (from, to) = match server.v6 {
            Some(v6) if hour.percent(50) => (own.1, v6),
            _ => (own.0, server.host),
        };
        let flow = Flow {
            src_port: hour.port(1024, 65_535),
            ..hour.path(from, to, 53).flow
        };
        let (id, label) = (hour.rng.next_u16(), hour.rng.below(10_000));
        hour.udp(now, flow, &dns_question(id, 1, label));
        let answered = now + hour.jitter(to.delay_ns);
        if server.dead {
            now += 800 * MS;
        } else if hour.percent(2) {
            late(hour, now, flow, &dns_answer(id, 1, label, 3));
            now += 800 * MS;
        } else if hour.percent(3) {
            let reply = dns_truncated(id, 1, label);
            hour.udp(answered, flow.reversed(), &reply);
            return by_tcp(hour, answered + MS, (from, to), (id, label));
        } else {
            let reply = dns_answer(id, 1, label, 3);
            hour.udp(answered, flow.reversed(), &reply);
            return answered;
        }
    }
}

/// The answer comes when the resolver has closed its socket: "port unreachable" goes back.
fn late(hour: &mut Hour, at: i64, flow: Flow, reply: &[u8]) {
    let answered = at + hour.between(1500 * MS, 4 * SECOND);
    let packet = hour.udp(answered, flow.reversed(), reply);
    hour.unreachable(answered + MS / 10, flow.src, &packet, false);
}

fn by_tcp(hour: &mut Hour, at: i64, ends: (Host, Host), (id, label): (u16, u64)) -> i64 {
    let path = hour.path(ends.0, ends.1, 53);
    match hour.rng.below(10) {
        0 => return hour.silent(at, path, 1),
        1 => return hour.refused(at, path),
        _ => {}
    }
    let mut talk = hour.open(at, path);
    let question = dns_tcp(&dns_question(id, 1, label));
    hour.exchange(
        &mut talk,
        &question,
        &dns_tcp(&dns_answer(id, 1, label, 40)),
    );
    let now = talk.now;
    hour.close(talk, By::Client);
    now
}

/// Ten minutes in which the questions to one server take another path: its answers alone are seen.
/// A few come late.
fn unasked(hour: &mut Hour, own: Host) -> Host {
    let server = hour.remote();
    let begin = hour.end / 3;
    for at in hour.times(begin, 2 * SECOND) {
        if at > begin + 10 * MINUTE {
            break;
        }
        let port = hour.port(1024, 65_535);
        let flow = Path::new(server, 53, own, port).flow;
        let (id, label) = (hour.rng.next_u16(), hour.rng.below(10_000));
        let packet = hour.udp(at, flow, &dns_answer(id, 1, label, 3));
        if hour.percent(5) {
            hour.unreachable(at + MS / 10, own.address, &packet, false);
        }
    }
    server
}
