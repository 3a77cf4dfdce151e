use super::*;
use crate::settings::flags::{Cli, Command};
use clap::Parser;

fn budget(args: &[&str]) -> RingBudget {
    match Cli::try_parse_from(["synledger", "run"].iter().chain(args))
        .expect("flags parse")
        .command
    {
        Command::Run(args) => RingBudget::new(&args.rings, args.capture, args.block_kib),
        _ => unreachable!("run was asked for"),
    }
}

/// Name, KiB, KiB of a block.
fn kib(args: &[&str], interfaces: usize) -> Vec<(&'static str, u64, u32)> {
    let budget = budget(args);
    let sizes = budget.share(interfaces).expect("it fits");
    let named = budget.named(&sizes).into_iter();
    named
        .map(|(name, bytes, block)| (name, bytes / 1024, block / 1024))
        .collect()
}

fn refused(args: &[&str], interfaces: usize) -> String {
    budget(args).share(interfaces).expect_err("too small").0
}

#[test]
fn small_rings_have_small_blocks() {
    let default = [
        ("data", 40960, 256),
        ("control", 8192, 64),
        ("open", 16384, 64),
    ];
    assert_eq!(kib(&[], 1), default);
    let four = [
        ("data", 2560, 128),
        ("control", 512, 32),
        ("open", 1024, 64),
    ];
    assert_eq!(kib(&["--ring-mib", "4"], 1), four);
    let least = [("data", 640, 64), ("control", 128, 16), ("open", 256, 16)];
    assert_eq!(kib(&["--ring-mib", "4"], 4), least);
    let one = [("all packets", 4096, 256)];
    assert_eq!(kib(&["--fanout", "qm", "--ring-mib", "4"], 1), one);
    let one = [("all packets", 512, 64)];
    assert_eq!(kib(&["--fanout", "hash", "--ring-mib", "4"], 8), one);
}

#[test]
fn full_frames_have_larger_blocks() {
    let full = ["--capture", "full"];
    let default = [
        ("data", 40960, 1024),
        ("control", 8192, 128),
        ("open", 16384, 128),
    ];
    assert_eq!(kib(&full, 1), default);
    let small = [
        ("data", 2560, 128),
        ("control", 512, 32),
        ("open", 1024, 64),
    ];
    assert_eq!(kib(&[&full[..], &["--ring-mib", "4"]].concat(), 1), small);
}

#[test]
fn an_explicit_block_is_the_data_rings_and_with_full_the_others_where_it_fits() {
    let asked = ["--block-kib", "1024"];
    let headers = [
        ("data", 40960, 1024),
        ("control", 8192, 64),
        ("open", 16384, 64),
    ];
    assert_eq!(kib(&asked, 1), headers);
    let full = [
        ("data", 40960, 1024),
        ("control", 8192, 512),
        ("open", 16384, 1024),
    ];
    assert_eq!(kib(&[&asked[..], &["--capture", "full"]].concat(), 1), full);
    // Eight blocks are enough for what was asked for, and whole blocks only.
    let eight = ["--fanout", "cpu", "--ring-mib", "9", "--block-kib", "1024"];
    assert_eq!(kib(&eight, 1), [("all packets", 9216, 1024)]);
    let eight = ["--fanout", "cpu", "--ring-mib", "67", "--block-kib", "4096"];
    assert_eq!(kib(&eight, 1), [("all packets", 65536, 4096)]);
}

#[test]
fn every_ring_has_eight_blocks_and_no_share_exceeds_the_budget() {
    let mut checked = 0;
    for fanout in ["class", "qm"] {
        for depth in ["headers", "control", "full"] {
            for ring_mib in [4_u64, 5, 7, 64, 100, 1000, 4096] {
                let text = ring_mib.to_string();
                let args = ["--fanout", fanout, "--capture", depth, "--ring-mib", &text];
                for interfaces in 1..=80 {
                    let Ok(sizes) = budget(&args).share(interfaces) else {
                        assert!(interfaces as u64 > ring_mib, "{args:?}, {interfaces}");
                        continue;
                    };
                    assert!(
                        sizes.sum() * interfaces as u64 <= ring_mib << 20,
                        "{args:?}"
                    );
                    for (name, bytes, block) in budget(&args).named(&sizes) {
                        let blocks = bytes / u64::from(block);
                        assert!(blocks >= BLOCKS_MIN, "{args:?}, {interfaces}: {name}");
                        assert_eq!(
                            bytes % u64::from(block),
                            0,
                            "{args:?}, {interfaces}: {name}"
                        );
                        assert!(block.is_power_of_two() && block >= 16 << 10, "{block}");
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 3_500, "{checked} rings");
}

#[test]
fn a_share_that_is_too_small_is_refused_with_what_is_enough() {
    assert_eq!(
        refused(&[], 80),
        "--ring-mib 64: shared by 80 interfaces it leaves 819 KiB each, at least 1 MiB is needed: \
         --ring-mib 80, or watch fewer interfaces"
    );
    assert!(budget(&["--ring-mib", "80"]).share(80).is_ok());
    let one = refused(&["--fanout", "qm", "--ring-mib", "4"], 9);
    assert!(
        one.contains("at least 512 KiB is needed: --ring-mib 5, or"),
        "{one}"
    );
    assert!(
        budget(&["--fanout", "qm", "--ring-mib", "5"])
            .share(9)
            .is_ok()
    );
    let too_many = refused(&["--ring-mib", "4096"], 5_000);
    assert!(
        too_many.ends_with("is needed: watch fewer interfaces"),
        "{too_many}"
    );
}

#[test]
fn rings_for_each_interface_are_not_shared() {
    let each = budget(&["--ring-per-interface"]);
    assert_eq!(each.share(80), budget(&[]).share(1));
    assert_eq!(each.share(80).expect("it fits").sum(), 64 << 20);
}

#[test]
fn a_block_that_is_too_large_is_refused_with_what_fits() {
    let large = ["--ring-mib", "4", "--block-kib", "1024"];
    assert_eq!(
        refused(&large, 1),
        "--block-kib 1024: the data ring of 2560 KiB must hold at least 8 blocks: at most --block-kib 256, or \
         --ring-mib 13"
    );
    assert_eq!(kib(&["--ring-mib", "4", "--block-kib", "256"], 1)[0].2, 256);
    assert_eq!(
        kib(&["--ring-mib", "13", "--block-kib", "1024"], 1)[0].2,
        1024
    );
    let shared = refused(&["--block-kib", "1024"], 8);
    assert!(
        shared.contains("of 5 MiB") && shared.ends_with("or --ring-mib 103"),
        "{shared}"
    );
    assert!(
        budget(&["--block-kib", "1024", "--ring-mib", "103"])
            .share(8)
            .is_ok()
    );
    let one = refused(
        &["--fanout", "hash", "--ring-mib", "4", "--block-kib", "1024"],
        1,
    );
    assert!(
        one.contains("the ring of 4 MiB") && one.contains("--block-kib 512, or --ring-mib 8"),
        "{one}"
    );
    let far = refused(&["--ring-mib", "100", "--block-kib", "4096"], 80);
    assert!(far.ends_with("at most --block-kib 64"), "{far}");
}
