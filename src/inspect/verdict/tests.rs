//! Who is a scanner: a table of what sources do, through all detectors.

use crate::decode::key::Address;
use crate::inspect::Rules;
use crate::inspect::contact::ContactKind::{
    self, AckProbe, Answered, Established, HalfOpen, Refused, Touch, UdpTouch, XmasProbe,
};
use crate::inspect::detection::{Kind, Verdict};
use crate::inspect::distinct;
use crate::inspect::lab::{self, Lab, S, rule, v4};
use crate::inspect::setting::Setting;

const WINDOW: i64 = 60 * S;
const US: u32 = 0x0a00_0001;
const THEM: u32 = 0xc633_6401;

fn lab() -> Lab {
    Lab::new(Rules {
        port_scan: rule(4, WINDOW),
        host_sweep: rule(25, WINDOW),
        slow_scan: rule(10, 8 * 60 * WINDOW),
        stealth_scan: rule(3, WINDOW),
        ..lab::OFF
    })
}

fn on(lab: &mut Lab, ts_ns: i64, ends: (u32, u32), port: u16, kinds: &[ContactKind]) {
    on_dark(lab, ts_ns, ends, port, (kinds, false));
}

fn on_dark(
    lab: &mut Lab,
    ts_ns: i64,
    (src, dst): (u32, u32),
    port: u16,
    (kinds, is_dark): (&[ContactKind], bool),
) {
    let ends: (Address, Address) = (v4(src), v4(dst));
    for &kind in kinds {
        let contact = lab.contact(ts_ns, ends, port, kind);
        let setting = Setting::default().with(Setting::DARK, is_dark);
        lab.on_with(&contact, setting);
    }
}

/// The verdicts of a kind: of the rising edge, and the highest of all.
fn verdicts(lab: &Lab, kind: Kind) -> Option<(Verdict, Verdict)> {
    let all = lab.all(kind).into_iter();
    let all: Vec<Verdict> = all.map(|one| one.verdict.expect("no flood")).collect();
    assert!(all.is_sorted(), "no verdict falls: {all:?}");
    Some((*all.first()?, *all.last()?))
}

/// The verdict of a port scan of four ports that behave so, 20 s later.
fn of_four_ports(kinds: &[ContactKind]) -> Option<(Verdict, Verdict)> {
    let mut lab = lab();
    for port in 1..=4 {
        on(&mut lab, 0, (US, THEM), port, kinds);
    }
    lab.expire(20 * S);
    verdicts(&lab, Kind::PortScan)
}

#[test]
fn a_browser_that_opens_four_ports_is_no_scanner() {
    let found = of_four_ports(&[Touch, Answered, Established]);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Unproven)));
}

#[test]
fn a_scan_of_closed_ports_is_one_half_a_second_later() {
    let found = of_four_ports(&[Touch, Refused]);
    // The fourth refusal is behind the rising edge.
    assert_eq!(found, Some((Verdict::Suspicious, Verdict::Scan)));
    let mut lab = lab();
    for port in 1..=4 {
        on(&mut lab, 0, (US, THEM), port, &[Touch, Refused]);
    }
    lab.expire(S / 2);
    let all = lab.all(Kind::PortScan);
    let last = all.last().expect("a detection");
    assert_eq!((last.ts_ns, last.verdict), (S / 2, Some(Verdict::Scan)));
}

#[test]
fn a_scan_of_filtered_ports_is_one_when_silence_is_known() {
    let mut lab = lab();
    for port in 1..=20 {
        on(&mut lab, 0, (US, THEM), port, &[Touch]);
    }
    lab.expire(5 * S + S / 2 - 1);
    let unproven = Some((Verdict::Unproven, Verdict::Unproven));
    assert_eq!(verdicts(&lab, Kind::PortScan), unproven);
    lab.expire(5 * S + S / 2);
    assert_eq!(
        verdicts(&lab, Kind::PortScan),
        Some((Verdict::Unproven, Verdict::Scan))
    );
}

/// The verdict of a scan of one destination with these outcomes, and how many lists there are.
fn of_one_host((silent, refused, answered): (u16, u16, u16), lists: usize) -> Option<Verdict> {
    let mut lab = Lab::new(Rules {
        port_scan: distinct::Rule {
            lists,
            ..rule(4, WINDOW)
        },
        ..lab::OFF
    });
    let outcomes: [(u16, &[ContactKind]); 3] = [
        (answered, &[Touch, Answered, Established]),
        (refused, &[Touch, Refused]),
        (silent, &[Touch]),
    ];
    for (first, (ports, kinds)) in [1_000, 2_000, 3_000].into_iter().zip(outcomes) {
        for port in first..first + ports {
            on(&mut lab, 0, (US, THEM), port, kinds);
        }
    }
    lab.expire(20 * S);
    verdicts(&lab, Kind::PortScan).map(|one| one.1)
}

#[test]
fn silence_of_one_host_alone_is_suspicious_and_a_scan_from_ten_ports_on() {
    for (outcomes, expected) in [
        // Clients of a server that is down.
        ((4, 0, 0), Verdict::Suspicious),
        ((9, 0, 0), Verdict::Suspicious),
        // Behind a firewall that drops.
        ((10, 0, 0), Verdict::Scan),
        ((20, 0, 0), Verdict::Scan),
        // The host is up: what is silent there fails by itself.
        ((3, 1, 0), Verdict::Scan),
        ((4, 0, 1), Verdict::Suspicious),
        ((5, 0, 1), Verdict::Scan),
        ((0, 4, 0), Verdict::Scan),
    ] {
        assert_eq!(of_one_host(outcomes, 16), Some(expected), "{outcomes:?}");
    }
}

#[test]
fn silence_of_one_host_is_measured_by_what_the_source_failed_where_no_list_is() {
    assert_eq!(of_one_host((9, 0, 0), 0), Some(Verdict::Suspicious));
    // It may be three hosts that are down.
    assert_eq!(of_one_host((27, 0, 0), 0), Some(Verdict::Suspicious));
    assert_eq!(of_one_host((33, 0, 0), 0), Some(Verdict::Scan));
}

#[test]
fn silence_of_many_hosts_is_a_scan() {
    let mut lab = lab();
    for host in 0..25 {
        on(&mut lab, 0, (US, THEM + host), 445, &[Touch]);
    }
    lab.expire(20 * S);
    let found = verdicts(&lab, Kind::HostSweep);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Scan)));
}

#[test]
fn retransmissions_without_end_hide_no_scan() {
    // Without a list only the four ports touched last are known.
    for (ports, lists, expected) in [(12, 16, Verdict::Scan), (4, 0, Verdict::Suspicious)] {
        let mut lab = Lab::new(Rules {
            port_scan: distinct::Rule {
                lists,
                ..rule(4, WINDOW)
            },
            ..lab::OFF
        });
        for retransmission in 0..25 * 20 {
            let ts_ns = i64::from(retransmission) * S / 25;
            for port in 1..=ports {
                on(&mut lab, ts_ns, (US, THEM), port, &[Touch]);
            }
        }
        let all = lab.all(Kind::PortScan);
        let last = all.last().expect("a detection");
        assert_eq!(last.verdict, Some(expected), "{ports}");
        assert_eq!((last.ts_ns, last.evidence.pending), (5 * S + S / 2, 0));
    }
}

#[test]
fn failures_decide_from_four_more_than_answers_on_if_four_times_as_many() {
    // (failed, answered) of one destination, and the verdict of the whole.
    let cases = [
        ((1, 3), Verdict::Unproven),
        ((2, 2), Verdict::Unproven),
        ((3, 1), Verdict::Suspicious),
        ((4, 0), Verdict::Scan),
        ((4, 1), Verdict::Suspicious),
        ((5, 1), Verdict::Scan),
        ((7, 2), Verdict::Suspicious),
        ((8, 2), Verdict::Scan),
    ];
    for ((failed, answered), expected) in cases {
        let mut lab = lab();
        for port in 1..=failed {
            on(&mut lab, 0, (US, THEM), port, &[Touch, Refused]);
        }
        for port in 101..=100 + answered {
            on(&mut lab, 0, (US, THEM), port, &[Touch, Answered]);
        }
        lab.finish();
        let all = lab.all(Kind::PortScan);
        let last = all.last().expect("a summary");
        let evidence = (last.evidence.refused, last.evidence.answered);
        assert_eq!(evidence, (failed.into(), answered.into()));
        // The episode's verdict does not fall when answers come later; this is that of the whole.
        let case = super::Case {
            judge: super::Judge::Outcomes,
            extent: &last.extent,
            is_whole: true,
            evidence: &last.evidence,
            source: &last.source,
        };
        let verdict = super::of_outcomes(&case);
        assert_eq!(verdict, expected, "{failed} {answered}");
    }
}

#[test]
fn a_monitor_of_forty_hosts_is_no_scanner_of_the_one_that_is_down() {
    let mut lab = lab();
    for host in 1..=40 {
        on(
            &mut lab,
            0,
            (US, host),
            443,
            &[Touch, Answered, Established],
        );
    }
    for port in 1..=6 {
        on(&mut lab, 0, (US, THEM), port, &[Touch]);
    }
    lab.expire(50 * S);
    let found = verdicts(&lab, Kind::PortScan);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Suspicious)));
    // The sweep is its job.
    let found = verdicts(&lab, Kind::HostSweep);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Unproven)));
}

#[test]
fn a_proxy_with_hundreds_of_answered_places_that_scans_is_a_scanner() {
    for (answered, times, failed, expected) in [
        // Four in five fail, but not of all that it touched.
        (300, 1, 700, Verdict::Suspicious),
        (300, 1, 5_000, Verdict::Scan),
        // That it touches its places again and again makes it no better.
        (300, 50, 20_000, Verdict::Scan),
    ] {
        let mut lab = lab();
        for _ in 0..times {
            for host in 0..answered {
                let ends = (US, THEM + 1 + host);
                on(&mut lab, 0, ends, 443, &[Touch, Answered, Established]);
            }
        }
        for port in 1..=failed {
            on(&mut lab, S, (US, THEM), port, &[Touch, Refused]);
        }
        lab.finish();
        let found = verdicts(&lab, Kind::PortScan);
        assert_eq!(found.map(|one| one.1), Some(expected), "{times} {failed}");
    }
}

#[test]
fn traced_routes_make_no_failing_source_of_a_monitor() {
    for (port, expected) in [(33_434, Verdict::Suspicious), (1_434, Verdict::Scan)] {
        let mut lab = lab();
        for host in 1..=5 {
            let ends = (US, THEM + host);
            on(&mut lab, 0, ends, 443, &[Touch, Answered, Established]);
            for hop in 0..30 {
                on(&mut lab, 0, ends, port + hop, &[UdpTouch]);
            }
        }
        for port in 1..=4 {
            on(&mut lab, S, (US, THEM), port, &[Touch, Refused]);
        }
        lab.finish();
        let found = verdicts(&lab, Kind::PortScan);
        assert_eq!(found.map(|one| one.1), Some(expected), "{port}");
    }
}

#[test]
fn a_peer_whose_every_second_contact_fails_is_no_scanner() {
    let mut lab = lab();
    for host in 0..50 {
        let outcome = match host % 2 {
            0 => Answered,
            _ => Refused,
        };
        let ts_ns = i64::from(host) * S;
        on(&mut lab, ts_ns, (US, THEM + host), 6881, &[Touch, outcome]);
    }
    lab.expire(200 * S);
    let found = verdicts(&lab, Kind::HostSweep);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Unproven)));
    assert_eq!(verdicts(&lab, Kind::SlowScan), None);
}

#[test]
fn a_mail_server_with_some_dead_peers_is_no_scanner() {
    let mut lab = lab();
    for host in 0..60 {
        let outcome: &[ContactKind] = match host % 10 {
            0 => &[Touch],
            _ => &[Touch, Answered, Established],
        };
        on(
            &mut lab,
            i64::from(host) * S,
            (US, THEM + host),
            25,
            outcome,
        );
    }
    lab.expire(200 * S);
    let found = verdicts(&lab, Kind::HostSweep);
    assert_eq!(found, Some((Verdict::Unproven, Verdict::Unproven)));
}

#[test]
fn a_worm_that_sweeps_a_port_is_a_scanner() {
    let mut lab = lab();
    for host in 0..60 {
        let outcome: &[ContactKind] = match host % 10 {
            0 => &[Touch, Answered, Established],
            1..5 => &[Touch, Refused],
            _ => &[Touch],
        };
        on(&mut lab, i64::from(host), (US, THEM + host), 445, outcome);
    }
    lab.expire(200 * S);
    let found = verdicts(&lab, Kind::HostSweep);
    assert_eq!(found.map(|one| one.1), Some(Verdict::Scan));
}

#[test]
fn half_open_checks_of_open_ports_are_suspicious_and_no_more() {
    let found = of_four_ports(&[Touch, Answered, HalfOpen]);
    assert_eq!(found.map(|one| one.1), Some(Verdict::Suspicious));
}

#[test]
fn three_dark_addresses_are_a_scan_and_one_is_suspicious() {
    for (dark, expected) in [
        (0, Verdict::Unproven),
        (1, Verdict::Suspicious),
        (2, Verdict::Suspicious),
        (3, Verdict::Scan),
    ] {
        // Whether they come first or last.
        for last in [false, true] {
            let mut lab = lab();
            for host in 0..25 {
                let is_dark = match last {
                    true => host >= 25 - dark,
                    false => host < dark,
                };
                // That they answer here takes away all other evidence.
                let kinds = (&[Touch, Answered, Established][..], is_dark);
                on_dark(&mut lab, 0, (US, THEM + host), 22, kinds);
            }
            lab.finish();
            let found = verdicts(&lab, Kind::HostSweep);
            assert_eq!(found.map(|one| one.1), Some(expected), "{dark} {last}");
        }
    }
}

/// What a source of nothing but answers, or of probes by ACK, is worth so many minutes after something else.
fn minutes_after(minutes: i64, before: impl FnOnce(&mut Lab)) -> [Option<Verdict>; 2] {
    let mut lab = lab();
    before(&mut lab);
    let ts_ns = minutes * 60 * S;
    for host in 1..=25 {
        let ends = (US, THEM + host);
        on(&mut lab, ts_ns, ends, 443, &[Touch, Answered, Established]);
    }
    for port in 1..=3 {
        on(&mut lab, ts_ns, (US, THEM), port, &[AckProbe]);
    }
    [Kind::HostSweep, Kind::StealthScan].map(|kind| Some(verdicts(&lab, kind)?.0))
}

#[test]
fn what_a_source_did_is_evidence_for_half_an_hour_at_least_and_an_hour_at_most() {
    let of_dark = |lab: &mut Lab| {
        for host in 100..103 {
            on_dark(lab, 0, (US, THEM + host), 22, (&[Touch], true));
        }
    };
    let of_half_open = |lab: &mut Lab| {
        for host in 100..104 {
            on(lab, 0, (US, THEM + host), 22, &[Touch, Answered, HalfOpen]);
        }
    };
    let of_xmas = |lab: &mut Lab| {
        for host in 100..102 {
            on(lab, 0, (US, THEM + host), 22, &[XmasProbe]);
        }
    };
    for (minutes, is_evidence) in [(29, true), (31, true), (59, true), (60, false)] {
        let otherwise = |verdict| match is_evidence {
            true => Some(verdict),
            false => Some(Verdict::Unproven),
        };
        let found = minutes_after(minutes, of_dark)[0];
        assert_eq!(found, otherwise(Verdict::Scan), "dark, {minutes}");
        let found = minutes_after(minutes, of_half_open)[0];
        assert_eq!(
            found,
            otherwise(Verdict::Suspicious),
            "half-open, {minutes}"
        );
        let certain = match is_evidence {
            true => Verdict::Scan,
            false => Verdict::Suspicious,
        };
        let found = minutes_after(minutes, of_xmas)[1];
        assert_eq!(found, Some(certain), "XMAS, {minutes}");
    }
}

#[test]
fn the_only_touch_of_hours_ago_is_no_evidence() {
    for (minutes, dark, stealth) in [
        (29, Verdict::Suspicious, Verdict::Scan),
        (59, Verdict::Suspicious, Verdict::Scan),
        (60, Verdict::Unproven, Verdict::Suspicious),
        (600, Verdict::Unproven, Verdict::Suspicious),
    ] {
        let found = minutes_after(minutes, |lab| {
            on_dark(lab, 0, (US, THEM + 100), 22, (&[Touch], true));
        });
        assert_eq!(found[0], Some(dark), "dark, {minutes}");
        let found = minutes_after(minutes, |lab| {
            on(lab, 0, (US, THEM + 100), 22, &[XmasProbe]);
        });
        assert_eq!(found[1], Some(stealth), "XMAS, {minutes}");
    }
}

#[test]
fn who_was_contacted_first_calls_back_and_is_no_scanner_for_half_an_hour() {
    for (contacted, minutes, expected) in [
        (true, 1, Verdict::Suspicious),
        (true, 29, Verdict::Suspicious),
        (true, 32, Verdict::Scan),
        (false, 1, Verdict::Scan),
    ] {
        let mut lab = lab();
        if contacted {
            on(&mut lab, 0, (THEM, US), 21, &[Touch, Answered, Established]);
        }
        let ts_ns = minutes * 60 * S;
        for port in 1..=6 {
            on(&mut lab, ts_ns, (US, THEM), port, &[Touch, Refused]);
        }
        lab.expire(ts_ns + 10 * S);
        let found = verdicts(&lab, Kind::PortScan).expect("a detection");
        assert_eq!(found.1, expected, "{contacted} {minutes}");
    }
    // Three callbacks of four that fail are suspicious of a stranger only.
    for (contacted, expected) in [(true, Verdict::Unproven), (false, Verdict::Suspicious)] {
        let mut lab = lab();
        if contacted {
            on(&mut lab, 0, (THEM, US), 21, &[Touch, Answered, Established]);
        }
        for port in 1..=3 {
            on(&mut lab, S, (US, THEM), port, &[Touch, Refused]);
        }
        on(&mut lab, S, (US, THEM), 4, &[Touch, Answered, Established]);
        lab.expire(20 * S);
        let found = verdicts(&lab, Kind::PortScan).expect("a detection");
        assert_eq!(found.1, expected, "{contacted}");
    }
    // That it contacted them makes it no friend of theirs.
    let mut lab = lab();
    on(&mut lab, 0, (US, THEM), 80, &[Touch, Answered, Established]);
    for port in 1..=8 {
        on(&mut lab, S, (US, THEM), port, &[Touch, Refused]);
    }
    lab.expire(20 * S);
    let found = verdicts(&lab, Kind::PortScan);
    assert_eq!(found.map(|one| one.1), Some(Verdict::Scan));
}
