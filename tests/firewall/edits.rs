//! Other programs that change nftables while the helper runs.

use super::host::{Host, add, add_others_rules, nft, others_rules, try_nft, with_nftables};
use synledger::firewall::{Firewall, Refused};
use synledger::helper::FOR_S_MAX;
use synledger::nft::{Kernel, Limits};

/// The lines of the table without what changes by itself, sorted: a table that is built again has its sets in another
/// order.
fn shape() -> Vec<String> {
    let listed = nft("list table inet synledger");
    let words = |line: &str| {
        let line = line.split(" expires ").next().expect("a line").to_owned();
        line.split(" timeout ").next().expect("a line").to_owned()
    };
    let mut lines: Vec<String> = listed.lines().map(words).collect();
    lines.sort();
    lines
}

#[test]
fn with_owner_flags_nobody_else_can_change_the_table() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        if host.has_notice("does not protect") {
            eprintln!("skipped: this kernel has no owner flags");
            return host.close();
        }
        host.done(add("198.51.100.1", 600));
        let before = shape();
        for command in [
            "delete table inet synledger",
            "flush table inet synledger",
            "flush set inet synledger blocked4",
            "add rule inet synledger prerouting accept",
            "delete element inet synledger blocked4 { 198.51.100.1 }",
        ] {
            assert!(try_nft(command).is_err(), "{command}");
        }
        nft("flush ruleset");
        assert_eq!(shape(), before);
        host.done(add("198.51.100.2", 600));
        host.close();
    });
}

#[test]
fn without_owner_flags_a_changed_table_is_built_again_and_said() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::WithoutOwner);
        assert!(host.has_notice("does not protect"), "{:?}", host.notices);
        host.done(add("198.51.100.1", 600));
        host.done(add("198.51.101.0/24", 600));
        host.done(add("2001:db8:1:2::/64", 600));
        let before = shape();
        for command in [
            "flush ruleset",
            "delete table inet synledger",
            "flush table inet synledger",
            "flush set inet synledger blocked4",
            "delete element inet synledger blocked4_24 { 198.51.101.0 }",
            "insert rule inet synledger prerouting accept",
            "add element inet synledger blocked4 { 203.0.113.1 timeout 1h }",
            "add table inet synledger { flags dormant; }",
        ] {
            host.notices.clear();
            nft(command);
            host.wait(command, |host| {
                host.has_notice("built again with 3 blocked entries")
            });
            assert_eq!(shape(), before, "{command}");
        }
        // An order that comes before the repair is carried out as well.
        nft("delete table inet synledger");
        host.done(add("198.51.100.2", 600));
        assert_eq!(host.nets().len(), 4);
        // Changes of other tables are none of ours.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        host.listen();
        host.notices.clear();
        add_others_rules();
        host.done(add("198.51.100.3", 600));
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        host.listen();
        assert_eq!(host.notices, [""; 0]);
        host.close();
    });
}

#[test]
fn without_owner_flags_a_table_left_by_a_killed_run_is_taken_over() {
    with_nftables(|| {
        for kernels in [
            [Kernel::WithoutOwner, Kernel::WithoutOwner],
            [Kernel::WithoutOwner, Kernel::Whole],
            [Kernel::Whole, Kernel::WithoutOwner],
        ] {
            let mut host = Host::start(kernels[0]);
            host.done(add("198.51.100.1", 600));
            host.done(add("2001:db8:1::/48", 600));
            host.vanish();
            let mut next = Host::start(kernels[1]);
            assert!(next.has_notice("taken over with 2 blocked entries"));
            assert_eq!(next.nets(), ["198.51.100.1/32", "2001:db8:1::/48"]);
            next.close();
        }
    });
}

#[test]
fn an_element_that_somebody_added_for_years_is_taken_over_with_the_longest_time_of_a_block() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::WithoutOwner);
        host.done(add("198.51.100.1", 600));
        host.vanish();
        for (element, timeout) in [("203.0.113.1", " timeout 3650d"), ("203.0.113.2", "")] {
            nft(&format!(
                "add element inet synledger blocked4 {{ {element}{timeout} }}"
            ));
        }
        let mut next = Host::start(Kernel::WithoutOwner);
        // One without a time is no block of ours.
        assert_eq!(next.nets(), ["198.51.100.1/32", "203.0.113.1/32"]);
        let elements = next.elements();
        let left_s = elements[1].expires_s;
        assert!((FOR_S_MAX - 60..=FOR_S_MAX).contains(&left_s), "{left_s} s");
        let listed = nft("list set inet synledger blocked4");
        assert!(listed.contains(" timeout 366d "), "{listed}");
        assert!(!listed.contains("203.0.113.2"), "{listed}");
        next.close();
    });
}

#[test]
fn a_table_of_our_name_that_is_not_ours_is_left_alone_and_said() {
    with_nftables(|| {
        nft("add table inet synledger");
        nft("add set inet synledger mine { type ipv4_addr; }");
        nft("add element inet synledger mine { 198.51.100.1 }");
        let before = nft("list ruleset");
        let limits = Limits {
            elements_max: 10,
            kernel: Kernel::Whole,
        };
        let mut host = Host::begin(limits);
        host.wait("words", |host| host.has_notice("is not of this program"));
        let refused = [Err(Refused::Kernel(libc::EEXIST))];
        assert_eq!(host.order(&[add("198.51.100.7", 60)]), refused);
        assert_eq!(nft("list ruleset"), before);
        nft("delete table inet synledger");
        host.wait("a table", |host| !host.lists.is_empty());
        assert!(host.has_notice("is built now"), "{:?}", host.notices);
        host.done(add("198.51.100.7", 60));
        host.close();
    });
}

#[test]
fn a_second_sensor_is_told_that_another_process_owns_the_table() {
    with_nftables(|| {
        let mut first = Host::start(Kernel::Whole);
        if first.has_notice("does not protect") {
            eprintln!("skipped: this kernel has no owner flags");
            return first.close();
        }
        first.done(add("198.51.100.1", 600));
        let limits = Limits {
            elements_max: 10,
            kernel: Kernel::Whole,
        };
        let mut second = Host::begin(limits);
        second.wait("words", |host| {
            host.has_notice("Another process may own it")
        });
        let refused = [Err(Refused::Kernel(libc::EPERM))];
        assert_eq!(second.order(&[add("198.51.100.7", 60)]), refused);
        second.nft.close(false, 10_000);
        first.done(add("198.51.100.2", 600));
        assert_eq!(first.nets(), ["198.51.100.1/32", "198.51.100.2/32"]);
        // A third one starts while the first one is about to end.
        let limits = Limits {
            elements_max: 10,
            kernel: Kernel::Whole,
        };
        let mut third = Host::begin(limits);
        std::thread::sleep(std::time::Duration::from_millis(300));
        first.vanish();
        third.wait("the table", |host| !host.lists.is_empty());
        assert!(!third.has_notice("refuses"), "{:?}", third.notices);
        assert_eq!(third.nets(), ["198.51.100.1/32", "198.51.100.2/32"]);
        third.close();
    });
}

#[test]
fn a_run_from_start_to_end_leaves_the_tables_of_others_as_they_were() {
    with_nftables(|| {
        add_others_rules();
        let before = others_rules();
        assert!(before.len() > 6, "{before:?}");
        let mut host = Host::start(Kernel::Whole);
        let orders: Vec<_> = (1..200)
            .map(|low| add(&format!("198.51.100.{low}"), 60))
            .collect();
        assert_eq!(host.order(&orders), vec![Ok(()); 199]);
        assert_eq!(others_rules(), before);
        host.close();
        assert_eq!(others_rules(), before);
    });
}
