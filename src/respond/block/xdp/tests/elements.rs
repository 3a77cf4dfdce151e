//! The maps: added, replaced, removed, listed; in batches and one by one.

use super::super::elements::{Elements, Value};
use super::{maps, net, value};
use ipnet::IpNet;
use std::net::IpAddr;

fn host(number: u32) -> IpNet {
    IpNet::from(IpAddr::from((0xc612_0000 | number).to_be_bytes()))
}

fn many(elements: &Elements) {
    let both = |number: u32| {
        let six = IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes());
        [host(number), IpNet::new(six, 120).expect("bits").trunc()]
    };
    let mut nets: Vec<IpNet> = (0..2_500)
        .flat_map(|number| both(number * 256 % 60_000))
        .collect();
    nets.sort();
    nets.dedup();
    let counted = |at: usize| Value {
        dropped: (at as u64, 7),
        ..value(true)
    };
    let all: Vec<_> = nets
        .iter()
        .enumerate()
        .map(|(at, net)| (*net, counted(at)))
        .collect();
    assert!(elements.add(&all).iter().all(Result::is_ok));
    let listed = elements.list().expect("listed");
    let expected: Vec<_> = all
        .iter()
        .map(|(net, value)| (*net, Some(*value)))
        .collect();
    assert_eq!(listed, expected);
    // Replaced by others, and every second one removed with some that are not there.
    let again = [(nets[0], value(false))];
    assert_eq!(elements.add(&again), [Ok(())]);
    assert_eq!(elements.get(nets[0]), Some(value(false)));
    let mut gone: Vec<IpNet> = nets.iter().step_by(2).copied().collect();
    gone.insert(3, net("203.0.113.7/32"));
    gone.push(net("2001:db8:ffff::/48"));
    assert!(elements.remove(&gone).iter().all(Result::is_ok));
    assert_eq!(elements.list().expect("listed").len(), nets.len() / 2);
    assert_eq!(elements.get(nets[0]), None);
    assert!(elements.remove(&nets).iter().all(Result::is_ok));
    assert_eq!(elements.list().expect("listed"), []);
}

#[test]
fn many_elements_are_added_listed_and_removed_in_batches_and_one_by_one() {
    let Some(elements) = maps(10_000) else { return };
    many(&elements);
    elements.one_by_one();
    many(&elements);
}

#[test]
fn a_full_map_refuses_what_is_new_and_nothing_else() {
    for in_batches in [true, false] {
        let Some(elements) = maps(3) else { return };
        if !in_batches {
            elements.one_by_one();
        }
        let all: Vec<_> = (0..5).map(|number| (host(number), value(true))).collect();
        let full = Err(libc::ENOSPC);
        assert_eq!(elements.add(&all), [Ok(()), Ok(()), Ok(()), full, full]);
        let more = [all[4], all[1], (net("2001:db8::/32"), value(true)), all[3]];
        assert_eq!(elements.add(&more), [full, Ok(()), Ok(()), full]);
        assert_eq!(elements.remove(&[host(1)]), [Ok(())]);
        assert_eq!(elements.add(&more[..1]), [Ok(())]);
    }
}

#[test]
fn a_shorter_prefix_is_not_taken_for_the_one_that_is_asked_for() {
    let Some(elements) = maps(9) else { return };
    let wide = net("198.51.0.0/16");
    assert_eq!(elements.add(&[(wide, value(true))]), [Ok(())]);
    assert_eq!(elements.get(net("198.51.100.0/24")), None);
    assert!(elements.get(wide).is_some());
}
