//! A load has the same bytes everywhere, and the facts about its frames are correct.

use super::*;
use std::collections::HashSet;

fn digest(name: Name, seed: u64, frames: u64) -> u64 {
    // FNV-1a: any changed byte changes the hash.
    let (load, mut out) = (Load::new(name, seed), [0; FRAME_LEN_MAX]);
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for index in 0..frames {
        let (len, _) = load.write(index, &mut out);
        for &byte in &out[..len] {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    hash
}

#[test]
fn a_seed_always_gives_the_same_bytes() {
    let found: Vec<(&str, u64)> = Name::ALL
        .iter()
        .map(|name| (name.word(), digest(*name, 1, 5000)))
        .collect();
    assert_eq!(found, DIGESTS, "{found:#x?}");
    for name in Name::ALL {
        assert_ne!(digest(name, 1, 100), digest(name, 2, 100), "{name}");
    }
}

#[test]
fn attempts_are_unique_and_found_by_their_sequence_numbers() {
    for name in Name::ALL {
        let load = Load::new(name, 7);
        let (mut attempts, mut numbers) = (HashSet::new(), HashSet::new());
        let mut out = [0; FRAME_LEN_MAX];
        for index in 0..50_000 {
            let (len, frame) = load.write(index, &mut out);
            assert_eq!(frame, load.frame(index), "{name} {index}");
            let Some(number) = frame.opens else { continue };
            assert_eq!(frame.class, Class::Open, "{name} {index}");
            assert!(numbers.insert(number), "{name}: attempt {number} twice");
            let attempt = load.attempt(number);
            assert_eq!(load.number(attempt.isn), number);
            assert!(attempts.insert(attempt), "{name}: {attempt} twice");
            let at = if attempt.ends.v6 { 54 } else { 34 };
            assert!(len >= at + 20);
            assert_eq!(out[at..at + 2], attempt.ends.src_port.to_be_bytes());
            assert_eq!(out[at + 2..at + 4], attempt.ends.dst_port.to_be_bytes());
            assert_eq!(
                out[at + 4..at + 8],
                attempt.isn.to_be_bytes(),
                "{name} {index}"
            );
        }
    }
}

#[test]
fn a_part_of_a_mix_has_each_frame_once_and_in_order() {
    let load = Load::new(Name::Mix, 3);
    let mut next = vec![0; load.parts.len()];
    for index in 0..10_000 {
        let (part, at) = load.place(index);
        assert_eq!(at, next[part], "frame {index} of part {part}");
        next[part] += 1;
    }
}

#[test]
fn words_of_loads_are_parsed() {
    for name in Name::ALL {
        assert_eq!(name.word().parse(), Ok(name));
    }
}

const DIGESTS: [(&str, u64); 15] = [
    ("syn", 0xA46E_D5BB_6DE9_9BA5),
    ("syn6", 0xADCB_E4DB_2CA6_535F),
    ("few", 0x61D9_4C27_ADED_1FBB),
    ("bulk64", 0x2C00_0F00_FBE7_1A15),
    ("bulk1500", 0xC3DE_B458_C58F_5424),
    ("short", 0x373C_77F5_ADC0_2595),
    ("mix", 0xC0A3_ECA7_F3DC_710E),
    ("fragments", 0x4597_5127_E223_AB6C),
    ("malformed", 0x8FD7_F03F_32CE_9309),
    ("scan", 0x4863_BEC5_327A_8D1A),
    ("rst", 0x62E4_9550_0E37_02EF),
    ("ack", 0xFC93_3E52_3A30_56E0),
    ("udp", 0xF93A_ECF0_D22D_7CF8),
    ("busy", 0x9287_CB09_00D6_222F),
    ("storm", 0x441D_C82F_1A37_2890),
];
