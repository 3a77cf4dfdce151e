use super::*;
use crate::settings::flags::SizeArgs;
use clap::Args;

fn flags() -> inspect::Flags {
    inspect::Flags::default()
}

fn users(workers: usize) -> Users {
    Users {
        workers,
        outputs: 1,
        buffers: 1,
        block_bytes: 0,
        responder_bytes: 0,
        fold_tables: workers,
        witness: None,
        reads: false,
        merged: 0,
        report_bytes: 0,
        parts: false,
    }
}

fn reading(workers: usize) -> Users {
    Users {
        fold_tables: 1,
        reads: true,
        ..users(workers)
    }
}

#[test]
fn the_sum_is_the_budget_or_just_below() {
    let mut checked = 0;
    for workers in [1, 2, 3, 4, 8, 16, 64] {
        let witnessed = Users {
            witness: Some(1),
            outputs: 4,
            buffers: 5,
            ..users(workers)
        };
        let many = Users {
            merged: 15,
            ..reading(workers)
        };
        for users in [users(workers), witnessed, reading(workers), many] {
            for mib in [16, 32, 64, 100, 256, 1000, 1 << 14] {
                let Ok(memory) = Memory::divide(mib, users, &flags()) else {
                    assert!(users.bytes_min() > u64::from(mib) * MIB);
                    continue;
                };
                let (budget, taken) = (u64::from(mib) * MIB, memory.bytes());
                assert!(taken <= budget, "{taken} of {budget}: {memory:?}");
                assert!(
                    budget - taken <= budget / 50,
                    "{taken} of {budget}: {memory:?}"
                );
                assert!(
                    memory.lines().iter().all(|&(_, bytes)| bytes > 0),
                    "{memory:?}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn the_least_budget_is_named_and_is_enough() {
    let mut checked = 0;
    for workers in [1, 2, 5, 64] {
        for users in [users(workers), reading(workers)] {
            let least = u32::try_from(users.bytes_min().div_ceil(MIB)).expect("MiB");
            let memory = Memory::divide(least, users, &flags()).expect("enough");
            assert!(memory.bytes() <= u64::from(least) * MIB, "{memory:?}");
            let error = Memory::divide(least - 1, users, &flags()).expect_err("too little");
            let way_out = format!("need at least {least} MiB");
            assert!(error.0.ends_with(&way_out), "{error}");
            checked += 1;
        }
    }
    assert_eq!(checked, 8);
    let three = Users {
        outputs: 3,
        buffers: 3,
        ..users(2)
    };
    let error = Memory::divide(16, three, &flags()).expect_err("too little");
    let says = "--memory-mib 16: 2 workers and 3 outputs need at least 2";
    assert!(error.0.starts_with(says), "{error}");
    let with = Users {
        witness: Some(1),
        ..users(1)
    };
    let error = Memory::divide(16, with, &flags()).expect_err("too little");
    let says = "--memory-mib 16: 1 worker and 1 output, with --witness, need at least 2";
    assert!(error.0.starts_with(says), "{error}");
}

#[test]
fn the_help_names_the_least_budgets() {
    let command = SizeArgs::augment_args(clap::Command::new("sizes"));
    let mut flags = command.get_arguments();
    let flag = flags.find(|flag| flag.get_id() == "memory_mib");
    let help = flag.and_then(clap::Arg::get_long_help);
    let [run, read] = [users(1), reading(1)].map(|users| users.bytes_min().div_ceil(MIB));
    let says = format!("(with one of each {run}, in `read` {read})");
    let help = help.expect("a help text").to_string();
    assert!(help.contains(&says), "{says:?} is not in {help:?}");
}

#[test]
fn the_default_leaves_queues_whole_and_most_to_the_tables() {
    for workers in 1..=4 {
        let memory = Memory::divide(256, users(workers), &flags()).expect("enough");
        assert_eq!(memory.room, Capacities::full(workers));
        let tables = workers as u64 * (memory.flows.memory_bytes() + memory.rules.memory_bytes());
        assert!(tables > 160 * MIB, "{workers}: {tables}");
    }
    let small = Memory::divide(32, users(1), &flags()).expect("enough");
    let full = Capacities::full(1);
    assert!(
        small.room.events < full.events && small.room.folds < full.folds,
        "{small:?}"
    );
    let tables = small.flows.memory_bytes() + small.rules.memory_bytes();
    assert!(tables > 11 * MIB, "{tables}");
    let two = Memory::divide(40, users(2), &flags()).expect("enough");
    let full = Capacities::full(2);
    assert!(two.room.contacts < full.contacts / 4, "{two:?}");
}

#[test]
fn floods_are_folded_alike_in_read_with_every_number_of_workers() {
    for mib in [48, 64, 256] {
        let folds = |workers| Memory::divide(mib, reading(workers), &flags()).map(|m| m.room.folds);
        assert!((2..=4).all(|workers| folds(workers) == folds(1)), "{mib}");
    }
}

#[test]
fn a_part_of_a_chunk_fills_no_queue() {
    for (mib, workers) in [(40, 1), (64, 2), (256, 1), (256, 4), (1024, 8)] {
        let room = Memory::divide(mib, reading(workers), &flags())
            .expect("enough")
            .room;
        assert!(room.part_frames() >= 64, "{room:?}");
        assert!(2 * room.part_frames() <= room.contacts, "{room:?}");
        assert!(room.part_frames() <= room.events, "{room:?}");
    }
}

#[test]
fn a_report_takes_its_part_of_the_budget() {
    let with = Users {
        report_bytes: crate::observe::summary::memory_bytes(),
        parts: false,
        ..reading(1)
    };
    eprintln!("a report takes {} KiB", with.report_bytes >> 10);
    let divide = |mib, users| Memory::divide(mib, users, &flags());
    let memory = divide(256, with).expect("enough");
    assert!(memory.lines().contains(&("the report", with.report_bytes)));
    assert!(memory.bytes() <= 256 << 20);
    let without = divide(256, reading(1)).expect("enough");
    assert!(memory.flows.attempts < without.flows.attempts);
    let error = divide(40, with).expect_err("too little");
    assert!(
        error
            .0
            .contains("1 worker and 1 output, with --report, need at least"),
        "{error}"
    );
    divide(40, reading(1)).expect("enough without it");
}
