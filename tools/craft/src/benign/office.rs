//! An office: logon to a domain, and file transfer.

use std::net::IpAddr;

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside, public, public_v6};
use super::payload::{dns_answer, dns_question, dns_tcp, noise, ntp};
use super::talk::By;
use super::{Known, naive};
use crate::transport::Flow;

/// A host with both families.
#[derive(Clone, Copy)]
struct Dual {
    v4: Host,
    v6: Host,
}

impl Dual {
    fn host(self, v6: bool) -> Host {
        if v6 { self.v6 } else { self.v4 }
    }
}

/// A domain controller.
#[derive(Clone, Copy)]
struct Controller {
    host: Dual,
    /// Ports of its RPC services.
    rpc: [u16; 6],
    /// NetBIOS is turned off: 139 is closed.
    netbios: bool,
}

/// 20 clients log on to a domain with 2 controllers, four times each.
pub(super) fn logon(hour: &mut Hour) -> Known {
    let controllers = [10_u8, 11].map(|last| {
        let rpc = [0; 6].map(|_| hour.port(49_152, 65_535));
        Controller {
            host: dual(hour, last),
            rpc,
            netbios: last == 10,
        }
    });
    let mut sources = Vec::new();
    for last in 100..120 {
        let client = dual(hour, last);
        // Every third client prefers IPv6.
        let v6 = last % 3 == 0;
        sources.push(client.host(v6).address);
        for round in 0..4 {
            let at = hour.between(round * 15 * MINUTE, round * 15 * MINUTE + 13 * MINUTE);
            log_on(hour, at, client, v6, controllers);
        }
    }
    Known {
        sources,
        naive: vec![
            naive(
                "port_scan",
                "a logon uses a dozen ports of one controller within seconds",
            ),
            naive(
                "slow_scan",
                "each client uses more than ten ports of the two controllers",
            ),
        ],
    }
}

fn dual(hour: &mut Hour, last: u8) -> Dual {
    Dual {
        v4: hour.near(inside(10, 0, last)),
        v6: hour.near(public_v6(10, last)),
    }
}

/// One logon: names, time, tickets, directory, policies. Takes about 6 s.
fn log_on(hour: &mut Hour, at: i64, client: Dual, v6: bool, controllers: [Controller; 2]) {
    let chosen = hour.rng.index(2);
    let (controller, other) = (controllers[chosen], controllers[1 - chosen]);
    let (from, to) = (client.host(v6), controller.host.host(v6));
    for i in 0..4 {
        ask_name(hour, at + i * 40 * MS, (from, to));
    }
    for (server, after) in [(controller, 200), (other, 210)] {
        let server = server.host.host(v6);
        datagrams(hour, at + after * MS, (from, server), 389, [150, 180]);
    }
    datagrams(hour, at + 300 * MS, (from, to), 88, [200, 110]);
    let time = hour.path(from, to, 123).flow.from_port(123);
    let (question, answer) = (ntp(&mut hour.rng, 3), ntp(&mut hour.rng, 4));
    hour.udp(at + 250 * MS, time, &question);
    hour.udp(at + 251 * MS, time.reversed(), &answer);
    netbios(hour, at + 400 * MS, client.v4, controller.host.v4);
    services(hour, at + 500 * MS, (from, to), controller);
    // SMB tries both of its ports and keeps one.
    let smb = at + 900 * MS;
    served(hour, smb, (from, to), 445, 9);
    let session = hour.path(client.v4, controller.host.v4, 139);
    if controller.netbios {
        let talk = hour.open(smb + MS, session);
        hour.reset(talk, By::Client);
    } else {
        hour.refused_thrice(smb + MS, session);
    }
}

/// The TCP services of a controller, a few hundred milliseconds apart.
fn services(hour: &mut Hour, at: i64, ends: (Host, Host), controller: Controller) {
    let mut now = at;
    let mut ports = vec![(88, 1), (88, 1), (88, 1), (389, 4), (389, 6), (53, 1)];
    ports.extend([(135, 2), (controller.rpc[0], 5), (controller.rpc[1], 3)]);
    ports.extend([(135, 2), (controller.rpc[hour.rng.index(6)], 2), (3268, 3)]);
    if hour.percent(33) {
        ports.push((636, 4));
    }
    if hour.percent(20) {
        ports.push((464, 1));
    }
    for (port, exchanges) in ports {
        served(hour, now, ends, port, exchanges);
        now += hour.between(50 * MS, 600 * MS);
    }
}

fn served(hour: &mut Hour, at: i64, (from, to): (Host, Host), port: u16, exchanges: usize) {
    let path = hour.path(from, to, port);
    let mut talk = hour.open(at, path);
    for _ in 0..exchanges {
        let (question, answer) = if port == 53 {
            let (id, label) = (hour.rng.next_u16(), 7);
            let message = dns_answer(id, 33, label, 2);
            (dns_tcp(&dns_question(id, 33, label)), dns_tcp(&message))
        } else {
            (noise(&mut hour.rng, 180), noise(&mut hour.rng, 700))
        };
        hour.exchange(&mut talk, &question, &answer);
        talk.now += hour.between(MS, 60 * MS);
    }
    if hour.percent(15) {
        hour.reset(talk, By::Client);
    } else {
        hour.close(talk, By::Client);
    }
}

fn ask_name(hour: &mut Hour, at: i64, (from, to): (Host, Host)) {
    let flow = hour.path(from, to, 53).flow;
    let (id, label) = (hour.rng.next_u16(), hour.rng.below(40));
    hour.udp(at, flow, &dns_question(id, 33, label));
    let answered = at + hour.jitter(to.delay_ns);
    hour.udp(answered, flow.reversed(), &dns_answer(id, 33, label, 1));
}

/// A question and an answer with these lengths.
fn datagrams(hour: &mut Hour, at: i64, (from, to): (Host, Host), port: u16, lens: [usize; 2]) {
    let flow = hour.path(from, to, port).flow;
    let [question, answer] = lens.map(|len| noise(&mut hour.rng, len));
    hour.udp(at, flow, &question);
    let answered = at + hour.jitter(to.delay_ns);
    hour.udp(answered, flow.reversed(), &answer);
}

/// A name query that the controller has no service for, and an announcement to the subnet.
fn netbios(hour: &mut Hour, at: i64, client: Host, controller: Host) {
    let query = Flow {
        src: client.address,
        dst: controller.address,
        src_port: 137,
        dst_port: 137,
    };
    let data = noise(&mut hour.rng, 50);
    let packet = hour.udp(at, query, &data);
    hour.unreachable(at + MS / 3, controller.address, &packet, false);
    let announcement = Flow {
        dst: inside(10, 0, 255),
        src_port: 138,
        dst_port: 138,
        ..query
    };
    let data = noise(&mut hour.rng, 200);
    hour.udp(at + 20 * MS, announcement, &data);
}

/// Clients of two FTP servers: data connections to ever new ports, all answered.
pub(super) fn ftp(hour: &mut Hour) -> Known {
    let server = hour.remote();
    let active = hour.remote();
    let server_v6 = hour.remote_v6();
    let passive: Vec<Host> = (1..=3).map(|i| hour.near(inside(30, 0, i))).collect();
    let mut sources = Vec::new();
    for &client in &passive {
        mirror(hour, client, server, Mode::Passive);
        sources.push(client.address);
    }
    let client_v6 = hour.near(public_v6(30, 1));
    mirror(hour, client_v6, server_v6, Mode::Extended);
    sources.push(client_v6.address);
    let client = hour.near(public(30));
    mirror(hour, client, active, Mode::Active);
    sources.push(active.address);
    Known {
        sources,
        naive: vec![
            naive(
                "port_scan",
                "each listing and each file has a data port of its own",
            ),
            naive(
                "slow_scan",
                "a mirror run uses hundreds of ports of one server",
            ),
        ],
    }
}

/// Who opens data connections: the client, or with `Active` the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passive,
    Extended,
    Active,
}

/// A folder tree is copied: bursts of listings and files over one control connection, with pauses.
fn mirror(hour: &mut Hour, client: Host, server: Host, mode: Mode) {
    let begin = hour.between(0, MINUTE);
    let path = hour.path(client, server, 21);
    let mut talk = hour.open(begin, path);
    hour.say(&mut talk, By::Server, b"220 ready\r\n");
    hour.exchange(&mut talk, b"USER anonymous\r\n", b"331 password\r\n");
    hour.exchange(&mut talk, b"PASS guest\r\n", b"230 logged in\r\n");
    while talk.now < hour.end {
        for _ in 0..hour.between(15, 60) {
            let port = match mode {
                Mode::Active => hour.ephemeral(client.address),
                _ => hour.port(50_000, 51_999),
            };
            let (question, answer) = prepare(mode, client.address, server.address, port);
            hour.exchange(&mut talk, question.as_bytes(), answer.as_bytes());
            let listing = hour.percent(40);
            let command: &[u8] = if listing { b"LIST\r\n" } else { b"RETR f\r\n" };
            hour.say(&mut talk, By::Client, command);
            let data = match mode {
                Mode::Active => Path::new(server, 20, client, port),
                _ => hour.path(client, server, port),
            };
            let len = if listing { 12_000 } else { 3000 };
            talk.now = transfer(hour, talk.now, data, mode, len);
            hour.say(&mut talk, By::Server, b"226 complete\r\n");
            hour.ack(&mut talk, By::Client);
            talk.now += hour.between(20 * MS, 900 * MS);
        }
        talk.now += hour.between(30 * SECOND, 3 * MINUTE);
    }
}

/// The command that agrees on a data port, and its answer.
fn prepare(mode: Mode, client: IpAddr, server: IpAddr, port: u16) -> (String, String) {
    let fields = |address: IpAddr| {
        let dotted = address.to_string().replace('.', ",");
        format!("{dotted},{},{}", port >> 8, port & 0xFF)
    };
    match mode {
        Mode::Passive => (
            "PASV\r\n".to_owned(),
            format!("227 Entering Passive Mode ({})\r\n", fields(server)),
        ),
        Mode::Extended => (
            "EPSV\r\n".to_owned(),
            format!("229 Entering Extended Passive Mode (|||{port}|)\r\n"),
        ),
        Mode::Active => (
            format!("PORT {}\r\n", fields(client)),
            "200 okay\r\n".to_owned(),
        ),
    }
}

/// One data connection: the server sends and closes. Returns its end.
fn transfer(hour: &mut Hour, at: i64, path: Path, mode: Mode, len: usize) -> i64 {
    let sender = match mode {
        Mode::Active => By::Client,
        _ => By::Server,
    };
    let mut talk = hour.open(at, path);
    let data = noise(&mut hour.rng, len);
    hour.say(&mut talk, sender, &data);
    hour.close(talk, sender)
}
