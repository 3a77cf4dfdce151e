use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;

fn run(args: &[&str]) -> Result<RunConfig, ConfigError> {
    let all = ["synledger", "run"].iter().chain(args);
    match Cli::try_parse_from(all).expect("flags parse").command {
        Command::Run(args) => RunConfig::new(args),
        _ => unreachable!("run was asked for"),
    }
}

#[test]
fn tables_stay_within_the_memory_asked_for() {
    for (mib, workers) in [("8", "1"), ("64", "4"), ("256", "1"), ("256", "8")] {
        let config = run(&["--memory-mib", mib, "--workers", workers]).expect("in range");
        let tables = config.common.workers as u64
            * (config.common.flows.memory_bytes() + config.common.rule.memory_bytes());
        let asked: u64 = mib.parse::<u64>().expect("a number") * MIB;
        assert!(
            tables <= asked,
            "{tables} bytes of tables for {asked} asked"
        );
        assert!(
            tables * 10 >= asked * 4,
            "{tables} bytes of tables leave most of {asked} unused"
        );
    }
}

#[test]
fn two_outputs_never_share_a_target() {
    for (a, b) in [("text:-", "eve:-"), ("text:a.log", "eve:a.log,events=flow")] {
        let error = run(&["--output", a, "--output", b]).expect_err("one target");
        assert!(error.0.contains("named twice"), "{error}");
    }
    run(&["--output", "text:/dev/null", "--output", "eve:/dev/null"]).expect("nobody reads it");
    run(&["--output", "text:-", "--output", "eve:a.log"]).expect("two targets");
}

#[test]
fn rings_are_split_by_class() {
    let config = run(&["--ring-mib", "64"]).expect("defaults");
    assert_eq!(config.ring_bytes.map(|bytes| bytes / MIB), [40, 8, 16]);
    assert_eq!(config.block_bytes.map(|bytes| bytes / 1024), [256, 64, 64]);
    assert_eq!(
        config.ring_memory_bytes(2),
        2 * config.common.workers as u64 * 64 * MIB
    );
}

#[test]
fn full_frames_have_one_block_size_and_other_modes_one_ring() {
    let kib = |args: &[&str]| {
        let rings = run(args).expect("in range").rings();
        let all = rings.into_iter();
        all.map(|(name, bytes, block)| (name, bytes / 1024, block / 1024))
            .collect::<Vec<_>>()
    };
    let rest = [("control", 1024, 64), ("open", 2048, 64)];
    let data = ("data", 5120, 1024);
    let set = kib(&["--ring-mib", "8", "--block-kib", "1024"]);
    assert_eq!(set, [data, rest[0], rest[1]]);
    let full = kib(&["--capture", "full", "--ring-mib", "16"]);
    let expected = [
        ("data", 10240, 1024),
        ("control", 2048, 1024),
        ("open", 4096, 1024),
    ];
    assert_eq!(full, expected);
    let full = kib(&[
        "--capture",
        "full",
        "--ring-mib",
        "16",
        "--block-kib",
        "512",
    ]);
    assert!(full.iter().all(|&(_, _, block)| block == 512), "{full:?}");
    // One ring of 4 MiB has room for 4 such blocks; its three parts had not.
    let one = kib(&["--fanout", "qm", "--capture", "full", "--ring-mib", "4"]);
    assert_eq!(one, [("all packets", 4096, 1024)]);
    // Whole blocks only, and the sum says so.
    let config = run(&["--fanout", "hash", "--ring-mib", "9", "--block-kib", "4096"]);
    let config = config.expect("two blocks");
    let workers = config.common.workers as u64;
    assert_eq!(config.ring_memory_bytes(1), workers * 8 * MIB);
}

#[test]
fn the_memory_is_the_sum_of_its_lines() {
    let config = run(&["--output", "text:-", "--output", "eve:/x"]).expect("defaults");
    let lines = config.common.memory();
    assert_eq!(
        lines.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        config.memory_bytes()
    );
    assert!(lines.iter().all(|&(_, bytes)| bytes > 0), "{lines:?}");
    for args in [&[][..], &["--workers", "3", "--memory-mib", "64"]] {
        let config = run(args).expect("in range");
        let size = match Cli::try_parse_from(["synledger", "check"].iter().chain(args)) {
            Ok(Cli {
                command: Command::Check(check),
            }) => check.size,
            other => panic!("{other:?}"),
        };
        let workers = config.common.workers;
        assert_eq!(size.workers(cpus::allowed().len()), workers);
        assert_eq!(size.memory_bytes(workers), config.memory_bytes());
    }
}

#[test]
fn impossible_combinations_name_the_flag_and_the_way_out() {
    let error = run(&[
        "--capture",
        "full",
        "--ring-mib",
        "4",
        "--block-kib",
        "4096",
    ])
    .expect_err("one block");
    assert!(
        error.0.contains("--ring-mib 4") && error.0.contains("--block-kib"),
        "{error}"
    );
    let error = run(&["--cores", "99"]).expect_err("no such CPU");
    assert!(error.0.contains("99"), "{error}");
    let error = run(&["--cores", "0", "--workers", "3"]).expect_err("one CPU for three");
    assert!(error.0.contains("--workers"), "{error}");
}
