use super::*;
use crate::host::nic::{NicCounters, link_type};

fn host() -> Vec<Interface> {
    let types = [
        ("lo", 772),
        ("ens3", 1),
        ("ens4", 1),
        ("veth0", 1),
        ("tun0", 0xfffe),
        ("can0", 280),
    ];
    let each = |(index, (name, arphrd)): (usize, (&str, u16))| Interface {
        name: name.to_owned(),
        ifindex: u32::try_from(index + 1).expect("six"),
        arphrd,
        link: link_type(arphrd),
        up: true,
        running: true,
        loopback: name == "lo",
        mtu: 1_500,
        rx_queues: 1,
        addresses: Vec::new(),
        counters: NicCounters::default(),
    };
    types.into_iter().enumerate().map(each).collect()
}

fn ask(patterns: &str) -> Result<Vec<String>, String> {
    let defaults = ["ens3".to_owned(), "tun0".to_owned()];
    select(patterns, &host(), &defaults)
        .map(|found| found.interfaces.into_iter().map(|each| each.name).collect())
        .map_err(|error| error.to_string())
}

fn chosen(patterns: &str) -> Vec<String> {
    ask(patterns).expect(patterns)
}

fn refused(patterns: &str) -> String {
    ask(patterns).expect_err(patterns)
}

#[test]
fn names_globs_auto_and_negations_choose_what_they_say() {
    assert_eq!(chosen("auto"), ["ens3", "tun0"]);
    assert_eq!(chosen("ens4,lo"), ["lo", "ens4"]);
    assert_eq!(chosen("ens*"), ["ens3", "ens4"]);
    assert_eq!(chosen("!ens3 , ens?"), ["ens4"]);
    assert_eq!(chosen("*,!veth*,!lo"), ["ens3", "ens4", "tun0"]);
    assert_eq!(chosen("!veth*,!lo"), ["ens3", "ens4", "tun0"]);
    assert_eq!(chosen("auto,!tun*,!docker*"), ["ens3"]);
    assert_eq!(chosen("ens3,ens3,e*3"), ["ens3"]);
}

#[test]
fn any_means_all_that_can_be_read_unless_an_interface_has_that_name() {
    let all = ["lo", "ens3", "ens4", "veth0", "tun0"];
    assert_eq!(chosen("any"), all);
    assert_eq!(chosen("any,!lo,!veth*"), ["ens3", "ens4", "tun0"]);
    let mut there_are = host();
    there_are[3].name = "any".to_owned();
    let found = select("any", &there_are, &[]).expect("it is there");
    assert_eq!(found.interfaces.len(), 1);
    assert_eq!(found.interfaces[0].name, "any");
}

#[test]
fn an_error_tells_usage_from_the_state_of_the_host_and_what_may_come() {
    // List; whether it is a usage fault, whether a later interface may put it right, and with --wait.
    let cases = [
        ("", true, false, false),
        (",", true, false, false),
        ("ens3,", true, false, false),
        ("a/b", true, false, false),
        ("can0", true, false, false),
        ("ens3,!ens*", true, false, false),
        ("eth7", true, false, true),
        ("wl*", true, true, true),
        ("wl*,eth7", true, false, true),
        ("ens*,!ens*", true, true, true),
        ("any,!*", true, true, true),
        ("!*", true, true, true),
        ("auto,!*", false, false, true),
        ("auto", false, false, true),
    ];
    for (patterns, usage, plain, wait) in cases {
        let defaults = match patterns {
            "auto" => Vec::new(),
            _ => vec!["ens3".to_owned()],
        };
        let error = select(patterns, &host(), &defaults).expect_err(patterns);
        let told = (
            error.is_usage_fault(),
            error.may_pass(false),
            error.may_pass(true),
        );
        assert_eq!(told, (usage, plain, wait), "{patterns:?}: {error}");
    }
    let unreadable = select("auto", &host(), &["can0".to_owned()]).expect_err("can");
    assert!(!unreadable.is_usage_fault(), "{unreadable}");
    let says = "can0 is of hardware type 280 (CAN), which is not supported: name the device that carries its packets";
    assert!(unreadable.to_string().contains(says), "{unreadable}");
    let io = SelectError::from(io::Error::other("no netlink"));
    assert!(!io.is_usage_fault() && !io.may_pass(true));
}

#[test]
fn what_fits_nothing_is_named_with_what_there_is() {
    let error = refused("ens3,eth7");
    assert!(
        error.contains("-i eth7: no such interface; there are lo ens3"),
        "{error}"
    );
    assert!(refused("wl*").contains("-i wl*"));
    assert!(refused("ens3,!ens*").contains("leaves no interface"));
    let error = select("auto", &host(), &[])
        .expect_err("no default")
        .to_string();
    assert!(
        error.contains("no device carries a default route"),
        "{error}"
    );
    assert!(error.contains("ens4"), "{error}");
}

#[test]
fn globs_may_match_later_and_with_wait_names_and_routes_too() {
    // List; whether a later interface may put it right without --wait, and with it.
    let cases = [
        ("wl*", true, true),
        ("ens3,wl?", true, true),
        ("eth7", false, true),
        ("wl*,eth7", false, true),
        ("auto", false, true),
        ("auto,!ens*,!tun*", false, true),
        ("ens*,!ens*", true, true),
        ("can?", true, true),
        ("!*", true, true),
        ("ens3,!ens*", false, false),
        ("can0", false, false),
        ("a/b", false, false),
    ];
    for (patterns, plain, wait) in cases {
        let defaults = match patterns {
            "auto" => Vec::new(),
            _ => vec!["ens3".to_owned()],
        };
        let error = select(patterns, &host(), &defaults).expect_err(patterns);
        let passes = (error.may_pass(false), error.may_pass(true));
        assert_eq!(passes, (plain, wait), "{patterns}: {error}");
    }
}

#[test]
fn names_no_interface_can_have_are_refused() {
    assert!(refused("a123456789012345").contains("longer than 15 bytes"));
    assert!(refused("a12345678901234").contains("no such interface"));
    assert!(refused("ens3,").contains("is empty"));
    assert!(refused("!").contains("is empty"));
    assert!(
        refused("a b").contains("contains a space, which no interface name can have: separate")
    );
    assert!(refused("192.0.2.1").contains("`ip -br address`"));
    assert!(refused("ens3;ens4").contains("(separate names by commas)"));
    assert!(refused("a/b").contains("contains '/'"));
}

#[test]
fn an_unreadable_device_is_refused_by_name_and_passed_over_by_glob() {
    assert!(refused("can0").contains("hardware type 280 (CAN)"));
    let found = select("*", &host(), &[]).expect("some");
    assert_eq!(found.interfaces.len(), 5);
    assert_eq!(found.unreadable[0].name, "can0");
    assert!(refused("can?").contains("leaves no interface"));
}

#[test]
fn globs_agree_with_the_slow_obvious_rule() {
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
            Some((&byte, rest)) => name
                .split_first()
                .is_some_and(|(&first, more)| (byte == b'?' || byte == first) && naive(rest, more)),
        }
    }
    let words = |letters: &[u8], length: u32| -> Vec<Vec<u8>> {
        let count = letters.len().pow(length);
        let digit = |n: usize, place: u32| letters[n / letters.len().pow(place) % letters.len()];
        (0..count)
            .map(|n| (0..length).map(|place| digit(n, place)).collect())
            .collect()
    };
    for pattern in (0..5).flat_map(|length| words(b"ab*?", length)) {
        for name in (0..5).flat_map(|length| words(b"ab", length)) {
            assert_eq!(
                glob(&pattern, &name),
                naive(&pattern, &name),
                "{pattern:?} {name:?}"
            );
        }
    }
}
