//! The web: browsers, and a crawler.

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside, public, public_v6};
use super::payload::{dns_answer, dns_question, http_answer, http_get, quic, tls, tls_hello};
use super::talk::{By, Talk};
use super::{Known, naive};

/// What a browser meets at a site.
#[derive(Clone, Copy)]
struct Site {
    v4: Host,
    v6: Option<Host>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answers on all of its addresses.
    Good,
    /// Its IPv6 address is published, but nothing answers there.
    BrokenV6,
    /// Its IPv6 path is so slow that browsers try IPv4 as well.
    SlowV6,
    /// Third parties that are gone.
    Dead,
}

/// 50 browsers in one office.
pub(super) fn browsers(hour: &mut Hour) -> Known {
    let sites: Vec<Site> = (0..150).map(|i| site(hour, i)).collect();
    let (good, dead): (Vec<Site>, Vec<Site>) =
        sites.iter().partition(|site| site.kind != Kind::Dead);
    let intranet = hour.near(inside(20, 1, 5));
    let mut sources = Vec::new();
    for last in 10..60 {
        let client = (
            hour.near(inside(20, 0, last)),
            hour.near(public_v6(20, last)),
        );
        sources.push(client.0.address);
        let running = hour.pick(&good);
        let path = hour.path(client.0, running.v4, 443);
        let at = hour.between(0, MINUTE);
        let talk = hour.resume(at, path);
        requests(hour, talk);
        for at in hour.times(0, 3 * MINUTE) {
            if hour.percent(12) {
                intranet_page(hour, at, client.0, intranet);
            } else {
                page(hour, at, client, (&good, &dead));
            }
        }
    }
    Known {
        sources,
        naive: vec![
            naive(
                "port_scan",
                "an intranet page is redirected from 80 to 443, and has parts on 8080 and 8443",
            ),
            naive(
                "slow_scan",
                "a browser uses more than ten hosts, some of them dead",
            ),
        ],
    }
}

fn site(hour: &mut Hour, i: u32) -> Site {
    let kind = match i % 25 {
        0 | 1 => Kind::Dead,
        2..=4 => Kind::BrokenV6,
        5..=7 => Kind::SlowV6,
        _ => Kind::Good,
    };
    let two = kind != Kind::Dead && (kind != Kind::Good || !i.is_multiple_of(3));
    let mut v6 = two.then(|| hour.remote_v6());
    if let (Some(host), Kind::SlowV6) = (&mut v6, kind) {
        host.delay_ns = 320 * MS;
    }
    Site {
        v4: hour.remote(),
        v6,
        kind,
    }
}

/// A page, and two to five third parties.
fn page(hour: &mut Hour, at: i64, client: (Host, Host), (good, dead): (&[Site], &[Site])) {
    let main = hour.pick(good);
    let mut now = at;
    if hour.percent(30) {
        let path = hour.path(client.0, main.v4, 80);
        now = redirected(hour, now, path);
    }
    visit(hour, now, client, main);
    let (first, second) = (hour.between(60, 300), hour.between(300, 800));
    for i in 0..hour.between(2, 6) {
        let after = (first + i * second / 4) * MS;
        if hour.percent(12) {
            let gone = hour.pick(dead);
            let path = hour.path(client.0, gone.v4, 443);
            let repeats = 1 + hour.rng.index(3);
            hour.silent(now + after, path, repeats);
        } else {
            let other = hour.pick(good);
            visit(hour, now + after, client, other);
        }
    }
}

/// One connection to a site: IPv6 first, IPv4 if that takes longer than 250 ms.
fn visit(hour: &mut Hour, at: i64, client: (Host, Host), site: Site) {
    let v4 = hour.path(client.0, site.v4, 443);
    let Some(host) = site.v6 else {
        if hour.percent(25) {
            datagrams(hour, at, v4);
        } else {
            secure(hour, at, v4);
        }
        return;
    };
    let v6 = hour.path(client.1, host, 443);
    match site.kind {
        Kind::BrokenV6 => {
            hour.silent(at, v6, 1);
            secure(hour, at + 250 * MS, v4);
        }
        Kind::SlowV6 => {
            // The browser closes its socket once IPv4 has answered; the stack resets what comes.
            hour.half_open(at, v6);
            secure(hour, at + 250 * MS, v4);
        }
        Kind::Good | Kind::Dead if hour.percent(30) => datagrams(hour, at, v6),
        Kind::Good | Kind::Dead => secure(hour, at, v6),
    }
}

fn redirected(hour: &mut Hour, at: i64, path: Path) -> i64 {
    let mut talk = hour.open(at, path);
    hour.exchange(
        &mut talk,
        &http_get("/"),
        &http_answer("301 Moved Permanently", 60),
    );
    let now = talk.now;
    hour.close(talk, By::Client);
    now
}

/// A TLS connection with a few requests; some are cancelled.
fn secure(hour: &mut Hour, at: i64, path: Path) {
    let mut talk = hour.open(at, path);
    let (hello, answer) = (
        tls_hello(&mut hour.rng, 512),
        tls_hello(&mut hour.rng, 2500),
    );
    hour.exchange(&mut talk, &hello, &answer);
    if hour.percent(8) {
        hour.reset(talk, By::Client);
        return;
    }
    requests(hour, talk);
}

fn requests(hour: &mut Hour, mut talk: Talk) {
    for _ in 0..hour.between(1, 4) {
        let (request, response) = (tls(&mut hour.rng, 250), tls(&mut hour.rng, 3000));
        hour.exchange(&mut talk, &request, &response);
        talk.now += hour.between(10 * MS, 2 * SECOND);
    }
    talk.now += hour.between(SECOND, 30 * SECOND);
    match hour.rng.below(3) {
        0 => hour.close(talk, By::Server),
        1 => hour.close(talk, By::Client),
        _ => hour.reset(talk, By::Client),
    };
}

/// HTTP/3 to UDP 443.
fn datagrams(hour: &mut Hour, at: i64, path: Path) {
    let mut now = at;
    for i in 0..hour.between(4, 9) {
        let long = i < 2;
        let question = quic(&mut hour.rng, !long);
        hour.udp(now, path.flow, &question);
        now += hour.jitter(path.server_ns);
        let answer = quic(&mut hour.rng, !long);
        hour.udp(now, path.flow.reversed(), &answer);
        now += hour.between(MS, 400 * MS);
    }
}

/// An application of the house: HTTP is redirected, and its parts live on four ports.
fn intranet_page(hour: &mut Hour, at: i64, client: Host, server: Host) {
    let path = hour.path(client, server, 80);
    let mut now = redirected(hour, at, path);
    for port in [443, 8080, 8443] {
        let path = hour.path(client, server, port);
        now += hour.between(20 * MS, 3 * SECOND);
        if port == 8080 {
            let mut talk = hour.open(now, path);
            let part = http_answer("200 OK", 2500);
            hour.exchange(&mut talk, &http_get("/api"), &part);
            hour.close(talk, By::Client);
        } else {
            secure(hour, now, path);
        }
    }
}

/// How a web server answers the crawler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Served,
    Silent,
    Refused,
    Rejected,
}

/// One crawler and 800 web servers, a tenth of which are dead.
pub(super) fn crawler(hour: &mut Hour) -> Known {
    let (robot, names) = (hour.near(public(90)), hour.near(public(53)));
    let mut served = Vec::new();
    for i in 0..800_i64 {
        let answer = match i % 40 {
            0 | 13 | 27 => Answer::Silent,
            7 if i % 80 == 7 => Answer::Rejected,
            7 => Answer::Refused,
            _ => Answer::Served,
        };
        let host = hour.remote();
        let port = if hour.percent(25) { 80 } else { 443 };
        if answer == Answer::Served {
            served.push((host, port));
        }
        let at = i * hour.end * 3 / 4 / 800 + hour.between(0, SECOND);
        resolve(hour, at, robot, names);
        crawl(hour, at + 50 * MS, (robot, host, port), answer);
    }
    // Later it comes back for news, a page at a time.
    for at in hour.times(hour.end * 3 / 4, 4 * SECOND) {
        let (host, port) = hour.pick(&served);
        let path = hour.path(robot, host, port);
        fetch(hour, at, path, "/news");
    }
    Known {
        sources: vec![robot.address, names.address],
        naive: vec![
            naive(
                "host_sweep",
                "one source opens port 443 of many hosts each minute",
            ),
            naive(
                "slow_scan",
                "one source uses 800 hosts, a tenth of which are dead",
            ),
            naive(
                "udp_scan",
                "the name server's answers go to a new port of the crawler each",
            ),
        ],
    }
}

fn resolve(hour: &mut Hour, at: i64, robot: Host, names: Host) {
    let flow = hour.path(robot, names, 53).flow;
    let (id, label) = (hour.rng.next_u16(), hour.rng.below(10_000));
    hour.udp(at, flow, &dns_question(id, 1, label));
    let answered = at + hour.between(MS, 40 * MS);
    hour.udp(answered, flow.reversed(), &dns_answer(id, 1, label, 2));
}

/// `robots.txt` first, then some pages, each on a connection of its own. A dead host is tried
/// again once.
fn crawl(hour: &mut Hour, at: i64, (robot, host, port): (Host, Host, u16), answer: Answer) {
    let mut now = at;
    let tries = match answer {
        Answer::Served => hour.between(3, 8),
        _ => 2,
    };
    for i in 0..tries {
        let path = hour.path(robot, host, port);
        now = match answer {
            Answer::Served => {
                let file = if i == 0 { "/robots.txt" } else { "/page" };
                fetch(hour, now, path, file)
            }
            Answer::Silent => hour.silent(now, path, 2),
            Answer::Refused => hour.refused(now, path),
            Answer::Rejected => hour.rejected(now, path, true),
        };
        now += hour.between(4 * SECOND, 15 * SECOND);
    }
}

fn fetch(hour: &mut Hour, at: i64, path: Path, file: &str) -> i64 {
    let mut talk = hour.open(at, path);
    if path.flow.dst_port == 80 {
        let page = http_answer("200 OK", 4000);
        hour.exchange(&mut talk, &http_get(file), &page);
    } else {
        let (hello, answer) = (
            tls_hello(&mut hour.rng, 512),
            tls_hello(&mut hour.rng, 2500),
        );
        hour.exchange(&mut talk, &hello, &answer);
        let (request, page) = (tls(&mut hour.rng, 200), tls(&mut hour.rng, 4000));
        hour.exchange(&mut talk, &request, &page);
    }
    hour.close(talk, By::Client)
}
