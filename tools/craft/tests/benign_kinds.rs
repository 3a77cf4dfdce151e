//! Benign captures: the shares of failures of each kind, counted from its frames by a plain reader.

mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plain::{Attempt, Body, Ends, Outcome, SECOND, attempts, datagrams, hour, percent};

const MINUTE: i64 = 60 * SECOND;

fn tried(kind: &str) -> Vec<Attempt> {
    attempts(&hour(kind).1)
}

/// Without the last minute's, whose answers may be behind the capture's end.
fn settled(attempts: Vec<Attempt>) -> Vec<Attempt> {
    let early = |attempt: &Attempt| attempt.at < 59 * MINUTE;
    attempts.into_iter().filter(early).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn from(attempts: &[Attempt], source: &str) -> Vec<Attempt> {
    let source = address(source);
    let ours = attempts.iter().filter(|attempt| attempt.ends.0 == source);
    ours.copied().collect()
}

fn count(attempts: &[Attempt], outcome: Outcome) -> usize {
    let is = |attempt: &&Attempt| attempt.outcome == outcome;
    attempts.iter().filter(is).count()
}

fn destinations(attempts: &[Attempt]) -> BTreeSet<(IpAddr, u16)> {
    let ends = attempts.iter().map(|attempt| attempt.ends);
    ends.map(|(_, _, dst, port)| (dst, port)).collect()
}

#[test]
fn half_of_what_a_file_sharing_node_opens_fails_mostly_in_silence() {
    let (_, packets) = hour("file-sharing");
    let all = attempts(&packets);
    let opened = from(&all, "10.40.0.20");
    let failed = percent(&opened, Attempt::failed);
    assert!((40..=60).contains(&failed), "{failed} % fail");
    let silent = count(&opened, Outcome::Silent);
    let refused = count(&opened, Outcome::Refused);
    assert!(silent > 2 * refused && refused > 20, "{silent}, {refused}");
    let peers: BTreeSet<_> = opened.iter().map(|attempt| attempt.ends.2).collect();
    assert!((260..=300).contains(&peers.len()), "{} peers", peers.len());
    assert!(opened.iter().all(|attempt| attempt.ends.3 >= 10_000));
    let inbound = all.iter().filter(|attempt| attempt.ends.3 == 51_413);
    assert!(inbound.count() > 100, "peers come to its one port");
    let asked = datagrams(&packets);
    let lost = percent(&asked, |one| one.answered.is_none());
    assert!((30..=60).contains(&lost), "{lost} % of DHT unanswered");
}

#[test]
fn a_logon_uses_a_dozen_ports_within_seconds_and_is_mostly_answered() {
    let (about, packets) = hour("domain-logon");
    let all = attempts(&packets);
    let clients: BTreeSet<_> = all.iter().map(|attempt| attempt.ends.0).collect();
    assert!(about.sources.iter().all(|source| clients.contains(source)));
    assert_eq!(about.sources.len(), 20);
    assert!(
        about
            .sources
            .iter()
            .filter(|source| source.is_ipv6())
            .count()
            >= 4
    );
    let failed = percent(&all, Attempt::failed);
    assert!((1..=8).contains(&failed), "{failed} % fail");
    let ports: BTreeSet<u16> = all.iter().map(|attempt| attempt.ends.3).collect();
    for port in [53, 88, 135, 139, 389, 445, 464, 636, 3268] {
        assert!(ports.contains(&port), "TCP {port}");
    }
    assert!(ports.iter().filter(|&&port| port >= 49_152).count() >= 6);
    let asked: BTreeSet<u16> = datagrams(&packets).iter().map(|one| one.ends.3).collect();
    assert_eq!(asked, BTreeSet::from([53, 88, 123, 137, 138, 389]));
    for source in about.sources {
        let own: Vec<_> = all.iter().filter(|one| one.ends.0 == source).collect();
        let soon = own.iter().filter(|one| one.at < own[0].at + 10 * SECOND);
        let used: BTreeSet<u16> = soon.map(|one| one.ends.3).collect();
        assert!(used.len() >= 8, "{source}: {used:?}");
    }
}

#[test]
fn ftp_opens_ever_new_data_ports_and_all_of_them_answer() {
    let all = settled(tried("ftp"));
    assert_eq!(percent(&all, Attempt::failed), 0);
    assert_eq!(count(&all, Outcome::Answered), all.len());
    assert!(all.iter().all(|attempt| attempt.proven));
    let active = all.iter().filter(|attempt| attempt.ends.1 == 20);
    let ports: BTreeSet<u16> = active.map(|attempt| attempt.ends.3).collect();
    assert!(
        ports.len() > 200,
        "the server connects back to {}",
        ports.len()
    );
    let passive = all
        .iter()
        .filter(|one| (50_000..52_000).contains(&one.ends.3));
    let (v6, v4): (Vec<&Attempt>, Vec<&Attempt>) = passive.partition(|one| one.ends.0.is_ipv6());
    assert!(
        v4.len() > 600 && v6.len() > 200,
        "{}, {}",
        v4.len(),
        v6.len()
    );
    let busy = v6.windows(40).any(|some| some[39].at - some[0].at < MINUTE);
    assert!(busy, "40 data ports within a minute");
}

#[test]
fn browsers_fall_back_to_ipv4_meet_dead_hosts_and_cancel() {
    let (about, packets) = hour("browsers");
    let all = settled(attempts(&packets));
    assert_eq!(about.sources.len(), 50);
    let failed = percent(&all, Attempt::failed);
    assert!((10..=30).contains(&failed), "{failed} % fail");
    assert_eq!(count(&all, Outcome::Silent) * 100 / all.len(), failed);
    // A silent or late IPv6 host: the same machine opens IPv4 a quarter of a second later.
    let starts: BTreeSet<i64> = all
        .iter()
        .filter(|one| one.ends.0.is_ipv4())
        .map(|one| one.at)
        .collect();
    let v6 = all
        .iter()
        .filter(|one| one.ends.0.is_ipv6() && (one.failed() || one.half_open));
    let (mut silent, mut late) = (0, 0);
    for attempt in v6 {
        assert!(starts.contains(&(attempt.at + SECOND / 4)), "{attempt:?}");
        if attempt.half_open {
            late += 1
        } else {
            silent += 1
        }
    }
    assert!(silent > 100 && late > 100, "{silent} silent, {late} late");
    let ports: BTreeSet<u16> = all.iter().map(|attempt| attempt.ends.3).collect();
    assert_eq!(ports, BTreeSet::from([80, 443, 8080, 8443]));
    let quic = datagrams(&packets);
    assert!(quic.len() > 300 && quic.iter().all(|one| one.ends.3 == 443));
    assert!(quic.iter().all(|one| one.answered.is_some()));
}

#[test]
fn a_monitor_checks_240_ports_each_ten_seconds_and_three_hosts_are_dead() {
    let all = tried("health-checks");
    let ports = destinations(&all);
    assert_eq!(ports.len(), 240);
    let of = |outcome| {
        let such = all.iter().filter(|attempt| attempt.outcome == outcome);
        destinations(&such.copied().collect::<Vec<_>>())
    };
    let silent = of(Outcome::Silent);
    let hosts: BTreeSet<_> = silent.iter().map(|(host, _)| host).collect();
    assert_eq!((silent.len(), hosts.len()), (18, 3));
    assert_eq!(of(Outcome::Refused).len(), 2);
    let answered = of(Outcome::Answered);
    assert_eq!(answered.len(), 220, "no port does now this, now that");
    for (host, port) in ports {
        let checks = all
            .iter()
            .filter(|one| (one.ends.2, one.ends.3) == (host, port));
        let checks: Vec<_> = checks.collect();
        assert!((359..=361).contains(&checks.len()), "{host}:{port}");
        let half_open = port != 8080 && answered.contains(&(host, port));
        // The RST of the last check may be behind the capture's end.
        assert!(
            checks[..350]
                .iter()
                .all(|check| check.half_open == half_open)
        );
    }
}

#[test]
fn users_of_one_address_use_six_ports_and_few_try_a_closed_one_once() {
    let all = settled(tried("carrier-nat"));
    let clients: BTreeSet<_> = all.iter().map(|attempt| attempt.ends.0).collect();
    assert_eq!(clients.len(), 1);
    let (open, closed): (Vec<&Attempt>, Vec<&Attempt>) = all.iter().partition(|one| !one.failed());
    let ports: BTreeSet<u16> = open.iter().map(|attempt| attempt.ends.3).collect();
    assert_eq!(ports.len(), 6);
    assert!((20..=40).contains(&closed.len()), "{} closed", closed.len());
    assert!(closed.iter().all(|one| one.outcome == Outcome::Refused));
    let user = |attempt: &&Attempt| (attempt.ends.1 - 2000) / 300;
    assert_eq!(open.iter().map(user).collect::<BTreeSet<_>>().len(), 200);
    let erring: BTreeSet<u16> = closed.iter().map(user).collect();
    assert_eq!(erring.len(), closed.len(), "each user once");
}

#[test]
fn each_backend_refuses_for_a_minute_and_serves_eight_ports_else() {
    let all = settled(tried("load-balancer"));
    let ports = destinations(&all);
    assert_eq!(ports.len(), 12 * 8);
    let hosts: BTreeSet<_> = ports.iter().map(|(host, _)| *host).collect();
    for host in hosts {
        let own: Vec<_> = all.iter().filter(|one| one.ends.2 == host).collect();
        let refused: Vec<_> = own.iter().filter(|one| one.failed()).collect();
        assert!(refused.iter().all(|one| one.outcome == Outcome::Refused));
        let (first, last) = (refused[0].at, refused[refused.len() - 1].at);
        assert!((20 * SECOND..MINUTE).contains(&(last - first)), "{host}");
        let meanwhile = own.iter().filter(|one| (first..=last).contains(&one.at));
        assert!(
            meanwhile.count() == refused.len(),
            "{host} serves while it restarts"
        );
    }
}

#[test]
fn thirty_percent_of_mail_servers_fail_and_are_tried_after_5_and_15_minutes() {
    let all = tried("mail");
    let out = from(&all, "192.0.2.25");
    let mut hosts: BTreeMap<IpAddr, Vec<Attempt>> = BTreeMap::new();
    for attempt in &out {
        hosts.entry(attempt.ends.2).or_default().push(*attempt);
    }
    assert_eq!(hosts.len(), 300);
    let failing: Vec<_> = hosts.values().filter(|own| own[0].failed()).collect();
    assert_eq!(failing.len(), 90, "30 % of 300");
    let silent = failing
        .iter()
        .filter(|own| own[0].outcome == Outcome::Silent);
    assert_eq!(silent.count(), 60);
    for own in failing {
        assert!(own.iter().all(|attempt| attempt.outcome == own[0].outcome));
        for minutes in [5, 15] {
            let again = |one: &Attempt| (one.at - own[0].at - minutes * MINUTE).abs() <= SECOND;
            assert!(own.iter().any(again), "no try after {minutes} minutes");
        }
    }
    let silent = out
        .iter()
        .filter(|one| one.outcome == Outcome::Silent && one.at < 59 * MINUTE);
    assert!(
        silent.into_iter().all(|one| one.sent == 4),
        "repeats at 1, 3 and 7 s"
    );
    let ports: BTreeSet<u16> = out.iter().map(|attempt| attempt.ends.3).collect();
    assert_eq!(ports, BTreeSet::from([25, 465, 587]));
    let inbound = all.iter().filter(|one| one.ends.2 == address("192.0.2.25"));
    let senders: BTreeSet<_> = inbound.map(|attempt| attempt.ends.0).collect();
    assert!((75..=100).contains(&senders.len()), "{}", senders.len());
}

#[test]
fn a_resolver_gets_late_answers_and_some_whose_question_was_never_seen() {
    let (about, packets) = hour("resolver");
    let own = &about.sources[..2];
    let asked = datagrams(&packets);
    let out: Vec<_> = asked
        .iter()
        .filter(|one| own.contains(&one.ends.0))
        .collect();
    assert!(out.iter().all(|one| one.ends.3 == 53));
    let servers: BTreeSet<_> = out.iter().map(|one| one.ends.2).collect();
    assert!((400..=500).contains(&servers.len()), "{}", servers.len());
    let silent = percent(&out, |one| one.answered.is_none());
    assert!((4..=9).contains(&silent), "{silent} % unanswered");
    let late = |one: &&Ends| own.contains(&one.2);
    let refused: BTreeSet<Ends> = packets
        .iter()
        .filter_map(|packet| match packet.body {
            Body::Icmp {
                quoted: Some((17, ends)),
                ..
            } => Some(ends),
            _ => None,
        })
        .collect();
    assert!(refused.len() > 40 && refused.iter().all(|ends| late(&ends)));
    assert!(refused.iter().all(|ends| ends.1 == 53), "it quotes answers");
    let unasked = asked
        .iter()
        .filter(|one| one.ends.1 == 53 && own.contains(&one.ends.2));
    assert!(unasked.count() > 200, "answers without a question");
    let tcp = attempts(&packets);
    assert!(tcp.len() > 60 && tcp.iter().all(|attempt| attempt.ends.3 == 53));
    let failed = percent(&tcp, Attempt::failed);
    assert!((10..=35).contains(&failed), "{failed} % of TCP fail");
}

#[test]
fn a_crawler_asks_800_servers_for_robots_first_and_a_tenth_is_dead() {
    let (_, packets) = hour("crawler");
    let all = settled(attempts(&packets));
    let mut hosts: BTreeMap<IpAddr, bool> = BTreeMap::new();
    for attempt in &all {
        assert!([80, 443].contains(&attempt.ends.3));
        let failed = hosts.entry(attempt.ends.2).or_insert(attempt.failed());
        assert_eq!(*failed, attempt.failed(), "a host is dead or not");
    }
    assert_eq!(hosts.len(), 800);
    assert_eq!(hosts.values().filter(|failed| **failed).count(), 80);
    let mut first = BTreeMap::new();
    for packet in &packets {
        if let Body::Tcp { ends, data, .. } = &packet.body
            && ends.3 == 80
            && !data.is_empty()
        {
            first.entry(ends.2).or_insert(data);
        }
    }
    assert!(first.len() > 100);
    assert!(
        first
            .values()
            .all(|data| data.starts_with(b"GET /robots.txt "))
    );
}

#[test]
fn media_is_answered_within_200_ms_and_most_candidates_never() {
    let (about, packets) = hour("calls");
    let (exchange, gateway) = (about.sources[0], about.sources[1]);
    let all = datagrams(&packets);
    let media: Vec<_> = all
        .iter()
        .filter(|one| (one.ends.0, one.ends.2) == (exchange, gateway) && one.ends.3 != 5060)
        .collect();
    // The last calls begin just before the end.
    let begun: Vec<_> = media.iter().filter(|one| one.at < 59 * MINUTE).collect();
    let soon = |at: i64| move |answered: i64| answered - at <= SECOND / 5;
    assert!(
        begun
            .iter()
            .all(|one| one.answered.is_some_and(soon(one.at)))
    );
    let even = begun.iter().filter(|one| one.ends.3 % 2 == 0).count();
    assert!(
        even > 300 && begun.len() == 2 * even,
        "RTP {even}, of {}",
        begun.len()
    );
    let checks: Vec<_> = all
        .iter()
        .filter(|one| one.ends.0 != exchange && one.ends.3 != 3478)
        .collect();
    let answered = percent(&checks, |one| one.answered.is_some());
    assert!((5..=12).contains(&answered), "{answered} % answered");
    let mut calls: BTreeMap<u16, usize> = BTreeMap::new();
    for check in &checks {
        *calls.entry(check.ends.1).or_default() += 1;
    }
    assert!(calls.len() > 80, "{} calls", calls.len());
    assert_eq!(checks.len() / calls.len(), 12, "candidates a call");
}

#[test]
fn a_rebooted_target_refuses_is_silent_for_two_minutes_and_comes_back() {
    let (_, packets) = hour("monitoring");
    let all = settled(attempts(&packets));
    let monitor = from(&all, "10.90.0.2");
    assert_eq!(destinations(&monitor).len(), 90);
    let failed: BTreeSet<_> = all
        .iter()
        .filter(|one| one.failed())
        .map(|one| one.ends.2)
        .collect();
    assert_eq!(failed, BTreeSet::from([address("10.90.1.8")]));
    let own: Vec<_> = all
        .iter()
        .filter(|one| one.ends.2 == address("10.90.1.8") && one.ends.3 != 22)
        .collect();
    let down: Vec<_> = own.iter().filter(|one| one.failed()).collect();
    let silent: Vec<_> = down
        .iter()
        .filter(|one| one.outcome == Outcome::Silent)
        .collect();
    let length = silent[silent.len() - 1].at - silent[0].at;
    assert!((100 * SECOND..=120 * SECOND).contains(&length), "{length}");
    assert_eq!(down[0].outcome, Outcome::Refused);
    assert_eq!(down[down.len() - 1].outcome, Outcome::Refused);
    assert!(own[own.len() - 1].proven, "it comes back");
    let storage: BTreeSet<u16> = all
        .iter()
        .filter(|one| one.ends.2 == address("10.90.2.1"))
        .map(|one| one.ends.3)
        .collect();
    assert_eq!(storage.len(), 9, "control and eight at once");
    let udp: BTreeSet<u16> = datagrams(&packets).iter().map(|one| one.ends.3).collect();
    assert_eq!(udp, BTreeSet::from([123, 161]));
}
