//! kill -9 of worker, keeper, both, and of the sensor, at random moments during orders.

use super::host::{
    Host, PATIENCE, add, add_others_rules, is_alive, kill_hard, nft, others_rules, program,
    wait_until, with_nftables,
};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use synledger::firewall::{Firewall, Order, Refused};
use synledger::helper::Helper;
use synledger::nft::{Kernel, Limits};

pub const IN_CHILD: &str = "SYNLEDGER_TEST_SENSOR";

pub fn rounds() -> u32 {
    if super::is_full() { 100 } else { 20 }
}

/// Another moment of the first 30 ms for each round.
pub fn moment(round: u32) -> Duration {
    Duration::from_micros(u64::from(round.wrapping_mul(2_654_435_761) >> 17) % 30_000)
}

/// An address of its own for each number.
pub fn address(number: u32) -> String {
    format!("198.51.{}.{}", 100 + number / 250, 1 + number % 250)
}

/// Orders without end, while worker, keeper or both are killed at any moment: every block that was confirmed is there.
/// `killed`: called after each kill.
pub fn orders_while_helpers_are_killed(host: &mut Host, killed: impl Fn(u32)) {
    let (mut number, mut confirmed) = (0_u32, BTreeSet::new());
    let (mut gone, mut answered) = (0, 0);
    for round in 0..rounds() {
        let lists = host.lists.len();
        let kill_at = Instant::now() + moment(round);
        let mut victims = Vec::new();
        let give_up = Instant::now() + PATIENCE;
        // Orders go on until a new helper has listed the table.
        while host.lists.len() == lists {
            let order = add(&address(number % 5_000), 3_600);
            number += u32::try_from(host.nft.order(&[order])).expect("one");
            host.listen();
            if victims.is_empty() && Instant::now() >= kill_at {
                victims = match round % 3 {
                    0 => host.pids().split_off(1),
                    1 => host.pids(),
                    // The worker first, so that the keeper may be about to start another.
                    _ => host.pids().into_iter().rev().collect(),
                };
                victims.iter().for_each(|pid| kill_hard(*pid));
                killed(round);
            }
            assert!(
                Instant::now() < give_up,
                "no new helper: {:?}",
                host.notices
            );
        }
        assert!(!victims.is_empty());
        // Every answer to the orders of this round comes before the list.
        let there: BTreeSet<_> = host.elements().iter().map(|one| one.net).collect();
        for answer in host.answers.drain(..) {
            assert_eq!(answer.order, add(&address(answered % 5_000), 3_600));
            answered += 1;
            match (answer.order, answer.result) {
                (Order::Add { net, .. }, Ok(())) => drop(confirmed.insert(net)),
                (_, Err(Refused::Gone)) => gone += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answered, number, "round {round}: an answer to each order");
        let lost: Vec<_> = confirmed.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
    }
    eprintln!(
        "{} kills: {answered} answers, {gone} of them Gone, {} blocked",
        rounds(),
        confirmed.len()
    );
}

#[test]
fn after_any_kill_of_the_helper_every_block_that_was_confirmed_is_there() {
    with_nftables(|| {
        add_others_rules();
        let before = others_rules();
        let mut host = Host::start(Kernel::Whole);
        orders_while_helpers_are_killed(&mut host, |_| ());
        assert_eq!(others_rules(), before);
        host.close();
        assert_eq!(others_rules(), before);
    });
}

#[test]
fn a_run_that_ends_just_after_its_helper_died_still_removes_the_table() {
    with_nftables(|| {
        for round in 0..rounds() {
            let mut host = Host::start(Kernel::Whole);
            host.done(add("198.51.100.1", 600));
            kill_hard(host.pids()[1]);
            // Before or after the next worker's first words.
            std::thread::sleep(moment(round) * 5);
            host.close();
        }
        let limits = Limits {
            elements_max: 0,
            kernel: Kernel::Whole,
        };
        Helper::start(program(), limits.into()).expect_err("no elements at all");
    });
}

/// Whole lines only: one write each.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr();
    stderr.write_all(text.as_bytes()).expect("somebody listens");
}

/// Starts `name`, a test that orders without end, and kills it at a moment of this round, sometimes with its helper.
/// Returns the addresses whose blocks were confirmed to it, once nothing of it lives any more.
pub fn kill_a_sensor(name: &str, round: u32) -> Vec<String> {
    let mut sensor = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(IN_CHILD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = sensor.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    lines
        .find(|line| line.starts_with("started"))
        .expect("it blocks");
    let keepers = children(sensor.id());
    let helpers: Vec<u32> = keepers.iter().flat_map(|pid| children(*pid)).collect();
    let all = keepers.iter().chain(&helpers);
    std::thread::sleep(moment(round));
    if round % 4 == 3 {
        all.clone().for_each(|pid| kill_hard(*pid));
    }
    kill_hard(sensor.id());
    sensor.wait().expect("it is killed");
    let confirmed = lines.filter_map(|line| line.strip_prefix("blocked ").map(str::to_owned));
    let confirmed = confirmed.filter(|address| address.parse::<Ipv4Addr>().is_ok());
    let confirmed = confirmed.collect();
    wait_until("the helper's end", || {
        all.clone().all(|pid| !is_alive(*pid))
    });
    confirmed
}

/// Every block that was confirmed to one of the sensors is there.
pub fn assert_none_lost(confirmed: &BTreeSet<String>, host: &mut Host) {
    let there: BTreeSet<_> = host.nets().into_iter().collect();
    let is_lost = |address: &&String| !there.contains(&format!("{address}/32"));
    let lost: Vec<_> = confirmed.iter().filter(is_lost).collect();
    assert!(lost.is_empty(), "{lost:?}");
    eprintln!("{} sensors killed, {} blocked", rounds(), there.len());
    assert!(there.len() > 10);
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn a_sensor_that_orders_without_end() {
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let mut host = Host::with(Limits {
        elements_max: 10_000,
        kernel: Kernel::Whole,
    });
    say("\nstarted\n");
    for number in 0.. {
        host.done(add(&address(number % 5_000), 3_600));
        say(&format!("blocked {}\n", address(number % 5_000)));
    }
}

#[test]
fn after_a_kill_of_the_sensor_the_next_one_has_all_its_blocks_and_nothing_else_has_changed() {
    with_nftables(|| {
        add_others_rules();
        let before = others_rules();
        let mut confirmed = BTreeSet::new();
        for round in 0..rounds() {
            confirmed.extend(kill_a_sensor(
                "kills::a_sensor_that_orders_without_end",
                round,
            ));
            assert_eq!(others_rules(), before, "round {round}");
        }
        let mut host = Host::start(Kernel::Whole);
        assert_none_lost(&confirmed, &mut host);
        host.close();
        assert_eq!(others_rules(), before);
        assert!(!nft("list tables").contains("inet synledger"));
    });
}

pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
    let of = |path: std::path::PathBuf| {
        std::fs::read_to_string(path.join("children")).unwrap_or_default()
    };
    let all: Vec<String> = tasks.map(|task| of(task.path())).collect();
    let all = all.iter().flat_map(|text| text.split_whitespace());
    all.map(|pid| pid.parse().expect("a number")).collect()
}
