//! Interfaces that `-i` selects.

use std::fmt::{self, Write as _};
use std::io;

use super::{Interface, NAME_BYTES_MAX, default_route_devices, hardware_type, list};

/// The interfaces that a list of patterns selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// By ifindex. Some may be down.
    pub interfaces: Vec<Interface>,
    /// Selected by `auto` or a glob, but of an unsupported type. (A name of such a one is an error.)
    pub unreadable: Vec<Interface>,
}

/// Why a list of patterns is refused. `there_are` names all interfaces.
#[derive(Debug)]
#[allow(missing_docs, reason = "fields are parts of the text")]
pub enum SelectError {
    /// A part of the list is no name and no pattern.
    BadPattern { pattern: String, why: &'static str },
    /// A name or a glob matches no interface.
    NoMatch {
        pattern: String,
        there_are: Vec<String>,
    },
    /// `auto`, and no device carries a default route.
    NoDefaultRoute { there_are: Vec<String> },
    /// A named interface has an unsupported hardware type (`ARPHRD_*`).
    Unreadable { name: String, arphrd: u16 },
    /// Patterns match, but negations or unsupported types leave no interface.
    NothingLeft {
        patterns: String,
        there_are: Vec<String>,
        /// Names and hardware types of those that match.
        unreadable: Vec<(String, u16)>,
    },
    /// The interfaces or routes could not be read.
    Io(io::Error),
}

impl SelectError {
    /// Whether the value of `-i` is at fault, as when it matches no interface. A missing default route is a
    /// run-time failure, like [`SelectError::Io`].
    pub fn is_usage_fault(&self) -> bool {
        match self {
            Self::BadPattern { .. } | Self::NoMatch { .. } | Self::Unreadable { .. } => true,
            Self::NothingLeft { patterns, .. } => !wanted(patterns).any(|part| part == "auto"),
            Self::NoDefaultRoute { .. } | Self::Io(_) => false,
        }
    }
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPattern { pattern, why } => write!(f, "-i: {pattern:?} {why}"),
            Self::NoMatch { pattern, there_are } => {
                write!(f, "-i {pattern}: no such interface; {}", those(there_are))
            }
            Self::NoDefaultRoute { there_are } => write!(
                f,
                "-i auto: no device carries a default route; name one with -i ({}), or wait for one with --wait",
                those(there_are)
            ),
            Self::Unreadable { name, arphrd } => write!(
                f,
                "-i {name}: hardware type {} is not supported (Ethernet, loopback, PPP, tun and IP tunnel devices are): name the \
                 device that carries its packets",
                hardware_type(*arphrd)
            ),
            Self::NothingLeft {
                patterns,
                there_are,
                unreadable,
            } => {
                write!(f, "-i {patterns}: leaves no interface that can be read")?;
                for (name, arphrd) in unreadable {
                    let kind = hardware_type(*arphrd);
                    write!(
                        f,
                        "; {name} is of hardware type {kind}, which is not supported"
                    )?;
                }
                if !unreadable.is_empty() {
                    write!(f, ": name the device that carries its packets")?;
                }
                write!(f, "; {}", those(there_are))
            }
            Self::Io(source) => write!(f, "cannot list the interfaces: {source}"),
        }
    }
}

impl std::error::Error for SelectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl SelectError {
    /// Whether a later interface or route may resolve the error: for globs always, for names and default routes
    /// with `wait` (`--wait`).
    pub fn may_pass(&self, wait: bool) -> bool {
        match self {
            Self::NoMatch { pattern, .. } => wait || is_glob(pattern),
            Self::NoDefaultRoute { .. } => wait,
            Self::NothingLeft { patterns, .. } => {
                let mut wanted = wanted(patterns).peekable();
                wanted.peek().is_none()
                    || wanted.any(|part| is_glob(part) || wait && part == "auto")
            }
            Self::BadPattern { .. } | Self::Unreadable { .. } | Self::Io(_) => false,
        }
    }
}

/// The parts of a list without `!`.
fn wanted(patterns: &str) -> impl Iterator<Item = &str> {
    let parts = patterns.split(',').map(str::trim);
    parts.filter(|part| !part.starts_with('!'))
}

/// Whether a part of a list is a pattern, no name.
pub fn is_glob(pattern: &str) -> bool {
    pattern == "any" || pattern.contains(['*', '?'])
}

impl From<io::Error> for SelectError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// Resolves a `-i` list against the interfaces and default routes of this host.
///
/// # Errors
///
/// [`SelectError`] names the part and the interfaces there are.
pub fn resolve(patterns: &str) -> Result<Selection, SelectError> {
    // Without `auto` routes do not matter, nor does an error about them.
    let auto = patterns.split(',').any(|part| part.trim() == "auto");
    let defaults = if auto {
        default_route_devices()?
    } else {
        Vec::new()
    };
    select(patterns, &list()?, &defaults)
}

/// Resolves a comma-separated list of names, globs (`*`, `?`), `auto`, `any` and `!` negations.
///
/// The order of the parts does not matter. Negations win. A missing name is reported before a glob without a
/// match. A list of negations alone starts from all interfaces, as does `any`, unless an interface has that name.
/// `defaults` are the devices of default routes.
///
/// # Errors
///
/// As [`resolve`]. A negation without a match is not an error.
pub fn select(
    patterns: &str,
    there_are: &[Interface],
    defaults: &[String],
) -> Result<Selection, SelectError> {
    let mut wanted = Vec::new();
    let mut unwanted = Vec::new();
    for part in patterns.split(',').map(str::trim) {
        match part.strip_prefix('!') {
            Some(rest) => unwanted.push(checked(rest.trim_start())?),
            None => wanted.push(checked(part)?),
        }
    }
    if wanted.is_empty() {
        wanted.push("*");
    }
    if !there_are.iter().any(|each| each.name == "any") {
        let any = wanted.iter_mut().filter(|part| **part == "any");
        any.for_each(|part| *part = "*");
    }
    // Globs last: then an error about a glob implies that all names exist.
    wanted.sort_by_key(|pattern| is_glob(pattern));
    let names = || there_are.iter().map(|each| each.name.clone()).collect();
    let mut chosen = vec![false; there_are.len()];
    for pattern in wanted {
        let mut fits_any = false;
        for (interface, chosen) in there_are.iter().zip(&mut chosen) {
            let name = &interface.name;
            let fits = match pattern {
                "auto" => defaults.contains(name),
                _ => glob(pattern.as_bytes(), name.as_bytes()),
            };
            let out = unwanted
                .iter()
                .any(|not| glob(not.as_bytes(), name.as_bytes()));
            if fits && !out && interface.link.is_none() && pattern == name {
                let (name, arphrd) = (name.clone(), interface.arphrd);
                return Err(SelectError::Unreadable { name, arphrd });
            }
            fits_any |= fits;
            *chosen |= fits && !out;
        }
        if !fits_any {
            return Err(match pattern {
                "auto" => SelectError::NoDefaultRoute { there_are: names() },
                _ => SelectError::NoMatch {
                    pattern: pattern.to_owned(),
                    there_are: names(),
                },
            });
        }
    }
    let chosen = there_are.iter().zip(chosen).filter(|&(_, chosen)| chosen);
    let (mut interfaces, unreadable): (Vec<_>, Vec<_>) = chosen
        .map(|(interface, _)| interface.clone())
        .partition(|interface| interface.link.is_some());
    if interfaces.is_empty() {
        let unreadable = unreadable.into_iter();
        return Err(SelectError::NothingLeft {
            patterns: patterns.to_owned(),
            there_are: names(),
            unreadable: unreadable.map(|nic| (nic.name, nic.arphrd)).collect(),
        });
    }
    interfaces.sort_by_key(|interface| interface.ifindex);
    Ok(Selection {
        interfaces,
        unreadable,
    })
}

/// A part of the list, if it can be a name or a glob.
fn checked(part: &str) -> Result<&str, SelectError> {
    let literal = !is_glob(part);
    let why = if part.is_empty() {
        "is empty: give a name, a glob such as ens*, auto, or any"
    } else if literal && part.len() > NAME_BYTES_MAX {
        "is longer than 15 bytes, which no interface name can be"
    } else if part.contains(|letter: char| letter == '/' || letter.is_whitespace()) {
        "contains a character that no interface name can have"
    } else {
        return Ok(part);
    };
    let pattern = part.to_owned();
    Err(SelectError::BadPattern { pattern, why })
}

/// Whether `name` matches `pattern`: `*` is any run of bytes, `?` any one byte.
///
/// Backtracks to the last `*` only: at most pattern × name steps.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else {
                    return false;
                };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The end of an error's text: the names of all interfaces.
fn those(names: &[String]) -> String {
    if names.is_empty() {
        return "there are none".to_owned();
    }
    let mut text = "there are".to_owned();
    // A host may have a thousand veths.
    for name in names.iter().take(40) {
        let _ = write!(text, " {name}");
    }
    if names.len() > 40 {
        let _ = write!(text, " and {} more", names.len() - 40);
    }
    text
}

#[cfg(test)]
mod tests {
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
        assert!(refused("a/b").contains("character"));
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
                Some((&byte, rest)) => name.split_first().is_some_and(|(&first, more)| {
                    (byte == b'?' || byte == first) && naive(rest, more)
                }),
            }
        }
        let words = |letters: &[u8], length: u32| -> Vec<Vec<u8>> {
            let count = letters.len().pow(length);
            let digit =
                |n: usize, place: u32| letters[n / letters.len().pow(place) % letters.len()];
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
}
