//! `--block-prefix6`: an IPv6 source is blocked with its network.

use super::*;

fn by_subnet() -> Lab {
    Lab::new(BlockPlan {
        prefix6: 64,
        ..plan()
    })
}

#[test]
fn addresses_of_one_subnet_are_one_block_that_names_the_first_and_grows_with_each() {
    let mut lab = by_subnet();
    lab.detect(&scan("2001:db8:1:2::7"));
    lab.detect(&scan("2001:db8:1:2:ffff::8"));
    lab.detect(&scan("2001:db8:1:3::7"));
    lab.detect(&scan("192.0.2.9"));
    let sentences: Vec<String> = lab.records().iter().map(|one| one.sentence()).collect();
    let starts = [
        "2001:db8:1:2::/64 for 10m: port_scan by 2001:db8:1:2::7 of 198.51.100.1 (",
        "2001:db8:1:3::/64 for 10m: port_scan by 2001:db8:1:3::7 of 198.51.100.1 (",
        "192.0.2.9 for 10m: port_scan of 198.51.100.1 (",
    ];
    assert_eq!(sentences.len(), starts.len(), "{sentences:?}");
    for (sentence, start) in sentences.iter().zip(starts) {
        let start = format!("Blocked (dry run): {start}");
        assert!(sentence.starts_with(&start), "{sentence}");
    }
    assert_eq!(lab.counts().unwished[Unwished::Already as usize], 1);
    let order = lab.with(|kernel| kernel.orders[0]);
    let net = net("2001:db8:1:2::/64");
    assert_eq!(order, Order::Add { net, for_s: 600 });
    lab.tick(600);
    lab.said();
    // Another address of it: the second block of the same source.
    lab.detect(&scan("2001:db8:1:2::99"));
    assert_eq!(lab.said(), ["2001:db8:1:2::/64 blocked 3600"]);
}

#[test]
fn a_longer_prefix_takes_less_and_a_detected_network_stays_whole() {
    let mut lab = Lab::new(BlockPlan {
        prefix6: 96,
        unproven: true,
        ..plan()
    });
    lab.detect(&scan("2001:db8:1:2:3:4:5:6"));
    let of_site = Detection {
        src_prefix: Some(48),
        proof: Proof::None,
        ..scan("2001:db8:9::")
    };
    lab.detect(&of_site);
    let expected = [
        "2001:db8:1:2:3:4::/96 blocked 600",
        "2001:db8:9::/48 blocked 600",
    ];
    assert_eq!(lab.said(), expected);
}

#[test]
fn a_subnet_with_anything_that_is_spared_is_refused_for_that_reason() {
    let mut lab = by_subnet();
    let around = Surroundings::of([ip("2001:db8:b::1")]).with_ssh_peers([ip("2001:db8:c::1")]);
    *lab.around.write().expect("no panic") = Arc::new(around);
    lab.tick(0);
    let near_contact = SourceEvidence {
        subnet_contacted: true,
        ..SourceEvidence::default()
    };
    let all = [
        (scan("2001:db8:a::66"), "2001:db8:a::/64", "own_address"),
        (scan("2001:db8:b::66"), "2001:db8:b::/64", "gateway"),
        (scan("2001:db8:c::66"), "2001:db8:c::/64", "ssh_peer"),
        (scan("2001:db8:d::66"), "2001:db8:d::/64", "allowed"),
        (scan("fe80::66"), "fe80::/64", "link_local"),
        (scan("fd00::66"), "fd00::/64", "private"),
        (scan("::ffff:192.0.2.5"), "::/64", "no_host"),
        (
            Detection {
                source: near_contact,
                ..scan("2001:db8:e::66")
            },
            "2001:db8:e::/64",
            "contacted_first",
        ),
        (
            Detection {
                proof: Proof::Answered,
                ..scan("2001:db8:f::66")
            },
            "2001:db8:f::/64",
            "unproven",
        ),
    ];
    for (detection, net, reason) in &all {
        lab.detect(detection);
        assert_eq!(lab.said(), [format!("{net} refused {reason}")]);
    }
    assert_eq!(lab.with(|kernel| kernel.orders.len()), 0);
    // What protects a neighbour does not protect an address that is blocked alone.
    let mut lab = Lab::new(plan());
    for at in [0, 1, 2, 3, 7] {
        lab.detect(&all[at].0);
    }
    assert_eq!(lab.counts().in_kernel, 5);
}

#[test]
fn a_subnet_leaves_when_one_of_its_addresses_is_spared_by_now() {
    let mut lab = by_subnet();
    lab.detect(&scan("2001:db8:c::66"));
    let around = Surroundings::of([]).with_ssh_peers([ip("2001:db8:c::1")]);
    *lab.around.write().expect("no panic") = Arc::new(around);
    lab.tick(1);
    lab.tick(0);
    let expected = [
        "2001:db8:c::/64 blocked 600",
        "2001:db8:c::/64 ended guarded",
    ];
    assert_eq!(lab.said(), expected);
    assert_eq!(lab.counts().removed[Removal::Guarded as usize], 1);
}
