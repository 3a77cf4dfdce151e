use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

/// Key and addresses of the reference program's sample.
const KEY: [u8; KEY_BYTES] = [
    21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121,
    121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_published_addresses_of_the_reference_program_come_out() {
    let known = Anonymizer::new(&KEY);
    for (address, replaced) in [
        ("128.11.68.132", "135.242.180.132"),
        ("129.118.74.4", "134.136.186.123"),
        ("130.132.252.244", "133.68.164.234"),
        ("141.223.7.43", "141.167.8.160"),
        ("141.233.145.108", "141.129.237.235"),
        ("152.163.225.39", "151.140.114.167"),
        ("156.29.3.236", "147.225.12.42"),
        ("165.247.96.84", "162.9.99.234"),
        ("166.107.77.190", "160.132.178.185"),
        ("192.102.249.13", "252.138.62.131"),
    ] {
        assert_eq!(known.replace(ip(address)), ip(replaced));
        assert_eq!(known.original(ip(replaced)), ip(address));
    }
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => panic!("of one family"),
    }
}

proptest! {
    #[test]
    fn a_common_prefix_stays_as_long_as_it_was(
        key in prop::array::uniform32(any::<u8>()), bits in any::<u128>(), flips in any::<u128>(), length in 0_u32..129,
    ) {
        let keyed = Anonymizer::new(&key);
        let other = bits ^ flips.checked_shr(length).unwrap_or(0);
        let v4 = |bits: u128| IpAddr::from(Ipv4Addr::from_bits(u32::try_from(bits >> 96).expect("32 bits")));
        let v6 = |bits: u128| IpAddr::from(Ipv6Addr::from_bits(bits));
        for [a, b] in [[v4(bits), v4(other)], [v6(bits), v6(other)]] {
            let replaced = [a, b].map(|one| keyed.replace(one));
            prop_assert_eq!(common_bits(replaced[0], replaced[1]), common_bits(a, b));
            prop_assert_eq!(replaced.map(|one| keyed.original(one)), [a, b]);
        }
    }
}

#[test]
fn addresses_in_sentences_are_replaced_and_all_else_stays() {
    let known = Anonymizer::new(&KEY);
    let [v4, v6] = ["192.0.2.1", "2001:db8::1"].map(|text| known.replace(ip(text)).to_string());
    let text = |says: &str| says.replace("V4", &v4).replace("V6", &v6);
    for says in [
        "V4",
        "V4.",
        "from V4 to V6: x",
        "V4:80",
        "[V6]:80",
        "V4/32, V6/128",
        "(V6)",
    ] {
        let real = says.replace("V4", "192.0.2.1").replace("V6", "2001:db8::1");
        assert_eq!(known.text(&real), text(says));
    }
    for says in [
        "",
        "12:30:05",
        "eth0.10: 3 of 5.",
        "one: two",
        "1.2.3",
        "dead beef",
        "a::b::c",
    ] {
        assert_eq!(known.text(says), says);
    }
}

#[test]
fn a_key_has_32_bytes_that_its_owner_alone_may_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("key");
    let with = |bytes: &[u8], mode: u32| {
        std::fs::write(&path, bytes).expect("a file");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("our own file");
        Anonymizer::read(&path)
    };
    let address = ip("128.11.68.132");
    let read = with(&KEY, 0o600).expect("a key");
    assert_eq!(read.replace(address), ip("135.242.180.132"));
    with(&KEY, 0o400).expect("a key");
    for mode in [0o640, 0o604, 0o620] {
        let why = with(&KEY, mode).expect_err("others may");
        let says = format!("mode {mode:04o} lets others read or change the key: chmod 0600 it");
        assert!(why.contains(&says), "{why}");
    }
    for (bytes, says) in [(0, "has 0;"), (31, "has 31;"), (33, "more than 32;")] {
        let why = with(&vec![7; bytes], 0o600).expect_err("no key");
        assert!(why.contains(says) && why.contains("head -c 32"), "{why}");
    }
    for (path, says) in [
        (dir.path(), "not a regular file"),
        (Path::new("/nowhere/key"), "No such file"),
    ] {
        let why = Anonymizer::read(path).expect_err("no key");
        assert!(why.contains(says) && why.contains("umask 077"), "{why}");
    }
    assert_eq!(format!("{read:?}"), "Anonymizer", "no key in messages");
}
