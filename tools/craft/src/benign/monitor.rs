//! Those who ask every few seconds: health checks, and the monitoring of a data center.

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside};
use super::payload::{http_answer, http_get, noise, ntp, snmp};
use super::talk::{By, Talk};
use super::{Known, naive};

/// Checked ports; all but the last by half-open checks.
const CHECKED: [u16; 6] = [22, 80, 443, 3306, 6379, 8080];

/// One monitor checks 6 ports of 40 hosts each 10 s. Three hosts are dead, two ports refuse.
pub(super) fn health_checks(hour: &mut Hour) -> Known {
    let monitor = hour.near(inside(50, 0, 2));
    let hosts: Vec<Host> = (1..=40).map(|i| hour.near(inside(50, 1, i))).collect();
    let mut round = hour.between(0, SECOND);
    while round < hour.end {
        for (number, &host) in hosts.iter().enumerate() {
            for (i, port) in (0..).zip(CHECKED) {
                let spread = i64::try_from(number).expect("few") * 200 * MS + i * 15 * MS;
                let at = round + spread + hour.between(0, 5 * MS);
                let path = hour.path(monitor, host, port);
                check(hour, at, path, (number, port));
            }
        }
        round += 10 * SECOND;
    }
    Known {
        sources: vec![monitor.address],
        naive: vec![
            naive("port_scan", "six ports of each host, each 10 s"),
            naive("host_sweep", "40 hosts on the same port, each 10 s"),
            naive(
                "slow_scan",
                "240 ports, 20 of which fail, for as long as the monitor runs",
            ),
        ],
    }
}

fn check(hour: &mut Hour, at: i64, path: Path, what: (usize, u16)) {
    match what {
        (5 | 17 | 30, _) => drop(hour.silent(at, path, 1)),
        (9, 3306) | (22, 6379) => drop(hour.refused(at, path)),
        (_, 8080) => {
            let mut talk = hour.open(at, path);
            let page = http_answer("200 OK", 2);
            hour.exchange(&mut talk, &http_get("/health"), &page);
            hour.close(talk, By::Client);
        }
        _ => drop(hour.half_open(at, path)),
    }
}

/// Ports of exporters.
const EXPORTERS: [u16; 3] = [9100, 9113, 8080];
/// Number of the host that is rebooted.
const REBOOTED: usize = 7;
/// How long it refuses while it goes down, and again before its services are up.
const REFUSES: i64 = 15 * SECOND;
/// How long it is silent in between.
const SILENT: i64 = 2 * MINUTE;

/// What a target does at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    Refuses,
    Silent,
}

/// 30 targets under Prometheus and SNMP, a backup, SSH and NTP; one target is rebooted.
pub(super) fn monitoring(hour: &mut Hour) -> Known {
    let monitor = hour.near(inside(90, 0, 2));
    let targets: Vec<Host> = (1..=30).map(|i| hour.near(inside(90, 1, i))).collect();
    for (number, &target) in targets.iter().enumerate() {
        for port in EXPORTERS {
            let begin = hour.between(0, 15 * SECOND);
            // One target in three closes its connection after each scrape.
            if number % 3 == 0 {
                scrape_anew(hour, begin, (monitor, target, port));
            } else {
                scrape_on(hour, begin, (monitor, target, port), number == REBOOTED);
            }
        }
        ask_agents(hour, (monitor, target), number == REBOOTED);
    }
    let storage = hour.near(inside(90, 2, 1));
    back_up(hour, targets[3], storage);
    let application = hour.near(inside(90, 4, 1));
    idle_pools(hour, application, &targets);
    let admin = hour.near(inside(90, 3, 7));
    for at in hour.times(0, MINUTE) {
        let (number, keys) = (hour.rng.index(30), hour.between(5, 40));
        let rebooted = number == REBOOTED;
        let path = hour.path(admin, targets[number], 22);
        match health(hour, at, rebooted) {
            // Nobody is logged in when the target goes down.
            Health::Up if health(hour, at + MINUTE, rebooted) != Health::Up => {}
            Health::Up => shell(hour, at, path, keys),
            Health::Refuses => drop(hour.refused(at, path)),
            Health::Silent => drop(hour.silent(at, path, 3)),
        }
    }
    Known {
        sources: vec![
            monitor.address,
            targets[3].address,
            admin.address,
            application.address,
        ],
        naive: vec![
            naive(
                "port_scan",
                "a backup uses eight ports of its storage at once",
            ),
            naive(
                "host_sweep",
                "at its start the monitor opens the same port of 30 targets",
            ),
            naive(
                "stealth_scan",
                "keep-alive probes of connections that the sensor never saw open; a rebooted \
                 target resets them",
            ),
            naive("slow_scan", "90 ports of 30 targets, one of them rebooted"),
        ],
    }
}

/// The rebooted target goes down after a third of the capture.
fn health(hour: &Hour, at: i64, rebooted: bool) -> Health {
    let down = at - hour.end / 3;
    match down {
        _ if !rebooted || down < 0 => Health::Up,
        _ if down < REFUSES => Health::Refuses,
        _ if down < REFUSES + SILENT => Health::Silent,
        _ if down < REFUSES + SILENT + REFUSES => Health::Refuses,
        _ => Health::Up,
    }
}

fn metrics(hour: &mut Hour, talk: &mut Talk) {
    let page = http_answer("200 OK", 1300);
    hour.exchange(talk, &http_get("/metrics"), &page);
}

fn scrape_anew(hour: &mut Hour, begin: i64, (monitor, target, port): (Host, Host, u16)) {
    let mut at = begin;
    while at < hour.end {
        let path = hour.path(monitor, target, port);
        let mut talk = hour.open(at, path);
        metrics(hour, &mut talk);
        hour.close(talk, By::Server);
        at += 15 * SECOND;
    }
}

/// One connection for all scrapes, until the target goes down; then the monitor tries each 15 s.
fn scrape_on(hour: &mut Hour, begin: i64, ends: (Host, Host, u16), rebooted: bool) {
    let (monitor, target, port) = ends;
    let mut held: Option<Talk> = None;
    let mut at = begin;
    while at < hour.end {
        match (health(hour, at, rebooted), held.take()) {
            (Health::Up, before) => {
                let mut talk = match before {
                    Some(talk) => talk,
                    None => {
                        let path = hour.path(monitor, target, port);
                        hour.open(at, path)
                    }
                };
                talk.now = talk.now.max(at);
                metrics(hour, &mut talk);
                held = Some(talk);
            }
            (state, before) => {
                if let Some(mut talk) = before {
                    talk.now = talk.now.max(hour.end / 3);
                    hour.reset(talk, By::Server);
                }
                let path = hour.path(monitor, target, port);
                match state {
                    Health::Silent => hour.silent(at, path, 2),
                    _ => hour.refused(at, path),
                };
            }
        }
        at += 15 * SECOND;
    }
}

/// SNMP each minute, and the target's own NTP questions to the monitor each 64 s.
fn ask_agents(hour: &mut Hour, (monitor, target): (Host, Host), rebooted: bool) {
    let mut at = hour.between(0, MINUTE);
    while at < hour.end {
        let flow = hour.path(monitor, target, 161).flow;
        let question = snmp(&mut hour.rng, false);
        match health(hour, at, rebooted) {
            Health::Up => {
                hour.udp(at, flow, &question);
                let answer = snmp(&mut hour.rng, true);
                let answered = at + hour.jitter(target.delay_ns);
                hour.udp(answered, flow.reversed(), &answer);
            }
            Health::Refuses => {
                let packet = hour.udp(at, flow, &question);
                hour.unreachable(at + MS / 5, target.address, &packet, false);
            }
            Health::Silent => {
                hour.udp(at, flow, &question);
                hour.udp(at + SECOND, flow, &question);
            }
        }
        at += MINUTE;
    }
    let mut at = hour.between(0, MINUTE);
    while at < hour.end {
        if health(hour, at, rebooted) == Health::Up {
            let flow = hour.path(target, monitor, 123).flow;
            let (question, answer) = (ntp(&mut hour.rng, 3), ntp(&mut hour.rng, 4));
            hour.udp(at, flow, &question);
            hour.udp(at + MS / 4, flow.reversed(), &answer);
        }
        at += 64 * SECOND;
    }
}

/// A backup each 20 minutes: one connection for control, then eight at once, a port each.
fn back_up(hour: &mut Hour, from: Host, storage: Host) {
    let mut begin = MINUTE;
    while begin < hour.end {
        let control = hour.path(from, storage, 6162);
        let mut talk = hour.open(begin, control);
        hour.exchange(&mut talk, b"start 8\n", b"okay 2500\n");
        hour.close(talk, By::Client);
        for (i, port) in (0..).zip(2500..2508) {
            let path = hour.path(from, storage, port);
            let mut talk = hour.open(begin + SECOND + i * 90 * MS, path);
            for _ in 0..20 {
                let data = noise(&mut hour.rng, 5000);
                hour.say(&mut talk, By::Client, &data);
                talk.now += hour.between(MS, 3 * SECOND);
            }
            hour.exchange(&mut talk, b"done\n", b"okay\n");
            hour.close(talk, By::Client);
        }
        begin += 20 * MINUTE;
    }
}

/// Connections that an application opened before the capture begins, and that carry nothing but
/// keep-alive probes. All were opened within a second, so their timers run out together. The
/// rebooted target knows its four no longer.
fn idle_pools(hour: &mut Hour, application: Host, targets: &[Host]) {
    let timer = hour.end / 3 + 5 * MINUTE;
    for target in [&targets[11], &targets[REBOOTED], &targets[19]] {
        for port in [5432, 5672, 6379, 9200] {
            let path = hour.path(application, *target, port);
            let at = timer + hour.between(0, SECOND);
            let mut talk = hour.resume(at, path);
            if target.address == targets[REBOOTED].address {
                hour.forgotten(talk);
                continue;
            }
            while talk.now < hour.end {
                hour.keep_alive(&mut talk);
                talk.now += 5 * MINUTE;
            }
        }
    }
}

fn shell(hour: &mut Hour, at: i64, path: Path, keys: i64) {
    let mut talk = hour.open(at, path);
    hour.exchange(&mut talk, b"SSH-2.0-client\r\n", b"SSH-2.0-server\r\n");
    for _ in 0..keys {
        let (key, echo) = (noise(&mut hour.rng, 36), noise(&mut hour.rng, 36));
        hour.exchange(&mut talk, &key, &echo);
        talk.now += hour.between(50 * MS, SECOND);
    }
    hour.close(talk, By::Client);
}
