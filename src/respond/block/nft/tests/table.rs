//! A table in a namespace of its own, with less room than it is told.

use super::super::table::{Setup, Table};
use crate::respond::block::firewall::{Order, Refused};
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use std::net::IpAddr;

fn net(number: u32) -> IpNet {
    IpNet::from(IpAddr::from((0xc612_0000 | number).to_be_bytes()))
}

/// Runs in a thread, whose namespace ends with it. Prints `skipped` without root or nf_tables.
fn with_table(test: impl FnOnce(Table) + Send + 'static) {
    let inside = std::thread::spawn(|| {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace: {errno}");
            return;
        }
        let setup = Setup {
            elements_max: 2,
            may_own: true,
            refreshes: false,
        };
        let mut table = Table::open(setup).expect("netlink");
        assert_eq!(table.find(), Ok(None));
        match table.build(Vec::new(), 0) {
            Ok(()) => test(table),
            Err(why) => eprintln!("skipped: no nftables: {why:?}"),
        }
    });
    inside.join().expect("the test passes");
}

#[test]
fn what_the_kernel_has_no_room_for_is_full_and_the_rest_of_its_transaction_is_carried_out() {
    with_table(|mut table| {
        // The set was made for 2 elements and 1,024 expired ones.
        table.setup.elements_max = 10_000;
        let add = |number| Order::Add {
            net: net(number),
            for_s: 600,
        };
        let orders: Vec<Order> = (0..1_024).map(add).collect();
        assert!(table.apply(&orders, 0).iter().all(|answer| answer.is_ok()));
        let remove = |number| Order::Remove { net: net(number) };
        let v6 = Order::Add {
            net: "2001:db8::1/128".parse().expect("a network"),
            for_s: 9,
        };
        let orders = [add(2_000), add(2_001), add(2_002), remove(5), v6];
        let full = Err(Refused::Full);
        assert_eq!(
            table.apply(&orders, 0),
            [Ok(()), Ok(()), full, Ok(()), Ok(())]
        );
        assert_eq!(table.apply(&[add(2_002), add(2_003)], 0), [Ok(()), full]);
        let listed = table.list().expect("the table is there");
        assert_eq!(listed.len(), 1_027);
        assert_eq!(listed.len(), table.len());
        let there = |number| listed.iter().any(|element| element.net == net(number));
        assert!(there(2_002) && there(4) && !there(2_003) && !there(5));
    });
}

#[test]
fn only_as_many_elements_of_an_earlier_run_are_taken_as_are_allowed_and_the_longest() {
    with_table(|mut table| {
        table.setup.elements_max = 10;
        let add = |number| Order::Add {
            net: net(number),
            for_s: 100 + number,
        };
        let orders: Vec<Order> = (0..10).map(add).collect();
        assert_eq!(table.apply(&orders, 0), [Ok(()); 10]);
        let there = table.find().expect("it is ours").expect("it is there");
        assert_eq!(there.len(), 10);
        table.setup.elements_max = 3;
        table.build(there, 0).expect("built");
        let mut left: Vec<IpNet> = table
            .list()
            .expect("listed")
            .iter()
            .map(|one| one.net)
            .collect();
        left.sort();
        assert_eq!(left, [net(7), net(8), net(9)]);
        assert_eq!(table.apply(&[add(50)], 0), [Err(Refused::Full)]);
        // In 108 seconds one has expired.
        let later_ns = 112_000_000_000;
        assert_eq!(table.apply(&[add(50)], later_ns), [Ok(())]);
        table.remove().expect("removed");
        assert_eq!(table.find(), Ok(None));
        table.remove().expect("twice is once");
    });
}
