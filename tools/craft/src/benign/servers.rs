//! Many users behind one address: a carrier's NAT, and a load balancer.

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside, public};
use super::payload::{http_answer, http_get, tls, tls_hello};
use super::talk::By;
use super::{Known, naive};

/// Open ports of the server behind the carrier's NAT: web, mail, chat.
const OPEN: [u16; 6] = [80, 443, 993, 587, 8443, 5222];
/// Ports that users try in error.
const CLOSED: [u16; 8] = [21, 22, 25, 110, 3306, 3389, 8000, 8080];
/// Users behind the NAT.
const USERS: u16 = 200;
/// Ports that the NAT reserves for each user.
const BLOCK: u16 = 300;

/// One address with 200 users, and one server with 6 open ports.
pub(super) fn carrier_nat(hour: &mut Hour) -> Known {
    let (carrier, server) = (hour.remote(), hour.near(public(80)));
    for user in 0..USERS {
        let first = 2000 + user * BLOCK;
        let mut used = 0;
        for at in hour.times(0, 3 * MINUTE) {
            for i in 0..hour.between(1, 4) {
                let path = Path::new(carrier, first + used % BLOCK, server, hour.pick(&OPEN));
                used += 1;
                session(hour, at + i * 700 * MS, path);
            }
        }
        if user % 7 == 3 {
            let port = CLOSED[usize::from(user / 7) % CLOSED.len()];
            let path = Path::new(carrier, first + used % BLOCK, server, port);
            let at = hour.between(0, hour.end);
            hour.refused(at, path);
        }
    }
    Known {
        sources: vec![carrier.address],
        naive: vec![
            naive(
                "port_scan",
                "200 users of one address use six ports of one server",
            ),
            naive(
                "slow_scan",
                "six open ports, and a few closed ones over the hour",
            ),
        ],
    }
}

fn session(hour: &mut Hour, at: i64, path: Path) {
    let mut talk = hour.open(at, path);
    let port = path.flow.dst_port;
    if port == 80 {
        let page = http_answer("200 OK", 900);
        hour.exchange(&mut talk, &http_get("/"), &page);
    } else {
        let (hello, answer) = (
            tls_hello(&mut hour.rng, 400),
            tls_hello(&mut hour.rng, 1800),
        );
        hour.exchange(&mut talk, &hello, &answer);
        let (question, reply) = (tls(&mut hour.rng, 120), tls(&mut hour.rng, 900));
        hour.exchange(&mut talk, &question, &reply);
    }
    talk.now += hour.between(0, 20 * SECOND);
    if hour.percent(10) {
        hour.reset(talk, By::Client);
    } else {
        hour.close(talk, By::Client);
    }
}

/// One address and 12 backends with 8 ports each. Every backend is restarted once: its ports are
/// closed for a minute.
pub(super) fn load_balancer(hour: &mut Hour) -> Known {
    let balancer = hour.near(inside(60, 0, 1));
    let backends: Vec<Host> = (1..=12).map(|i| hour.near(inside(60, 1, i))).collect();
    for at in hour.times(0, SECOND / 2) {
        let port = hour.port(8001, 8008);
        // A request that one backend refuses goes to the next.
        let mut asked = hour.rng.index(backends.len());
        let mut now = at;
        while restarts(hour, asked, now) {
            let path = hour.path(balancer, backends[asked], port);
            now = hour.refused(now, path) + MS;
            asked = (asked + 1) % backends.len();
        }
        let path = hour.path(balancer, backends[asked], port);
        request(hour, now, path);
    }
    Known {
        sources: vec![balancer.address],
        naive: vec![
            naive(
                "port_scan",
                "one source uses eight ports of each backend all the time",
            ),
            naive(
                "slow_scan",
                "96 backend ports, those of a restart closed for a minute",
            ),
        ],
    }
}

/// Whether a backend is down at `at`: each for a minute, one after another over the capture.
fn restarts(hour: &Hour, backend: usize, at: i64) -> bool {
    let number = i64::try_from(backend).expect("few");
    let begin = hour.end * (number + 1) / 14;
    (begin..begin + MINUTE).contains(&at)
}

fn request(hour: &mut Hour, at: i64, path: Path) {
    let mut talk = hour.open(at, path);
    let page = http_answer("200 OK", 600);
    hour.exchange(&mut talk, &http_get("/v1/item"), &page);
    hour.close(talk, By::Client);
}
