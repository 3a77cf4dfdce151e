//! kill -9 of worker, keeper, both, and of the sensor: what is in the kernel stays, and is taken over.

use super::super::common::netns::SENSOR;
use super::super::host::add;
use super::super::kills::{
    IN_CHILD, address, assert_none_lost, kill_a_sensor, orders_while_helpers_are_killed, rounds,
    say,
};
use super::super::packets::{BAD, GOOD, OURS, arrives, listen, with_neighbour};
use super::{assert_nothing_left, folder, program_of, started, with_xdp};
use std::collections::BTreeSet;

#[test]
fn after_any_kill_of_the_helper_every_block_that_was_confirmed_is_there() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let socket = listen(OURS[0]);
        host.done(add(BAD[0], 3_600));
        orders_while_helpers_are_killed(&mut host, |round| {
            if round % 5 == 0 {
                assert!(
                    !arrives(&peer, BAD[0], &socket),
                    "round {round}: by nobody's help"
                );
            }
        });
        // The other family: of this one, many neighbours are blocked.
        assert!(
            arrives(&peer, GOOD[1], &listen(OURS[1])),
            "the innocent neighbour"
        );
        assert!(host.dropped(BAD[0]) > 0, "its count went on");
        host.end();
        assert_nothing_left(SENSOR);
    });
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn a_sensor_that_blocks_by_xdp_without_end() {
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let mut host = started();
    say("\nstarted\n");
    for number in 0.. {
        host.done(add(&address(number % 5_000), 3_600));
        say(&format!("blocked {}\n", address(number % 5_000)));
    }
}

#[test]
fn after_a_kill_of_the_sensor_the_next_one_has_all_its_blocks() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut confirmed = BTreeSet::new();
        for round in 0..rounds() {
            confirmed.extend(kill_a_sensor(
                "xdp::kills::a_sensor_that_blocks_by_xdp_without_end",
                round,
            ));
            assert!(program_of(SENSOR).is_some(), "round {round}: it goes on");
            assert!(folder().join("blocked4").exists(), "round {round}");
        }
        let mut host = started();
        assert!(
            host.has_notice("of an earlier run were taken over"),
            "{:?}",
            host.notices
        );
        assert_none_lost(&confirmed, &mut host);
        host.end();
        assert_nothing_left(SENSOR);
    });
}
