use super::flags::{Cli, Command};
use super::*;
use clap::Parser;

const MIB: u64 = 1 << 20;

fn run(args: &[&str]) -> Result<RunConfig, ConfigError> {
    let all = ["synledger", "run"].iter().chain(args);
    match Cli::try_parse_from(all).expect("flags parse").command {
        Command::Run(args) => RunConfig::new(args),
        _ => unreachable!("run was asked for"),
    }
}

#[test]
fn two_outputs_never_share_a_target() {
    for (a, b, what) in [
        ("text:-", "eve:-", "standard output"),
        ("text:-", "eve:/dev/stdout", "standard output"),
        ("text:/proc/self/fd/1", "eve:/dev/fd/1", "standard output"),
        ("text:/dev/stderr", "eve:/dev/fd/2", "standard error"),
        ("text:a.log", "eve:a.log,events=flow", "a.log"),
    ] {
        let error = run(&["--output", a, "--output", b]).expect_err("one target");
        let says = format!("--output: {what} is named twice; ");
        assert!(error.0.starts_with(&says), "{error}");
    }
    run(&["--output", "text:-", "--output", "eve:/dev/stderr"]).expect("two targets");
    run(&["--output", "text:/dev/null", "--output", "eve:/dev/null"]).expect("nobody reads it");
    run(&["--output", "text:-", "--output", "eve:a.log"]).expect("two targets");
}

#[test]
fn the_witness_knows_no_tags() {
    run(&["--key", "vlan"]).expect("without a witness");
    run(&["--witness", "64"]).expect("by addresses");
    let error = run(&["--key", "vlan", "--witness", "64"]).expect_err("both");
    let says = "--witness 64: tells attempts apart by addresses";
    assert!(error.0.starts_with(says), "{error}");
}

#[test]
fn interfaces_share_the_rings_unless_each_is_to_have_all() {
    let mut config = run(&["--ring-mib", "64", "--workers", "2"]).expect("defaults");
    assert_eq!(config.rings.bytes.map(|bytes| bytes / MIB), [40, 8, 16]);
    assert_eq!(config.ring_memory_bytes(1), 2 * 64 * MIB);
    config.share_rings(4).expect("16 MiB each");
    assert_eq!(config.rings.bytes.map(|bytes| bytes / MIB), [10, 2, 4]);
    assert_eq!(config.ring_memory_bytes(4), 2 * 64 * MIB);
    let error = config.share_rings(80).expect_err("less than 1 MiB each");
    assert!(error.0.contains("--ring-mib 80"), "{error}");
    let mut config = run(&["--workers", "2", "--ring-per-interface"]).expect("defaults");
    config.share_rings(80).expect("64 MiB each");
    assert_eq!(config.ring_memory_bytes(80), 80 * 2 * 64 * MIB);
}

#[test]
fn what_a_run_takes_beside_its_tables_comes_out_of_the_same_budget() {
    let tables = |args: &[&str]| {
        let config = run(&[args, &["--workers", "2"]].concat()).expect("in range");
        assert!(config.memory.bytes() <= 256 * MIB, "{args:?}");
        config.common.flows.memory_bytes()
    };
    let plain = tables(&[]);
    for more in [
        &["--witness", "64"][..],
        &[
            "--output", "text:-", "--output", "eve:/x", "--output", "eve:/y",
        ],
    ] {
        assert!(tables(more) < plain, "{more:?}");
    }
    assert!(tables(&["--fold", "0"]) > plain);
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
    .expect_err("no block");
    assert!(
        error.0.contains("--block-kib 4096") && error.0.contains("--ring-mib 52"),
        "{error}"
    );
    let error = run(&["--cores", "99"]).expect_err("no such CPU");
    assert!(error.0.contains("99"), "{error}");
    let error = run(&["--cores", "0", "--workers", "3"]).expect_err("one CPU for three");
    assert!(error.0.contains("--workers"), "{error}");
}
