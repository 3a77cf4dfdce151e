//! Interfaces that `-i` selects.

use std::fmt::{self, Write as _};
use std::io;
use std::net::IpAddr;

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
    BadPattern { pattern: String, why: String },
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
                write!(
                    f,
                    "-i {pattern}: no such interface{}; {}",
                    hint(pattern),
                    those(there_are)
                )
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
    let is_foreign = |letter: &char| *letter == '/' || letter.is_whitespace();
    let foreign = part.chars().find(is_foreign);
    let why = if part.is_empty() {
        "is empty: give a name, a glob such as ens*, auto, or any".to_owned()
    } else if let Some(letter) = foreign {
        let letter = match letter {
            ' ' => "a space".to_owned(),
            letter => format!("{letter:?}"),
        };
        format!("contains {letter}, which no interface name can have: separate names by commas")
    } else if literal && part.len() > NAME_BYTES_MAX {
        "is longer than 15 bytes, which no interface name can be".to_owned()
    } else {
        return Ok(part);
    };
    let pattern = part.to_owned();
    Err(SelectError::BadPattern { pattern, why })
}

/// What may be meant by a name that no interface has.
fn hint(pattern: &str) -> &'static str {
    if pattern.parse::<IpAddr>().is_ok() {
        " (an address is none: `ip -br address` shows whose it is)"
    } else if pattern.contains([';', ':', '+', '|']) {
        " (separate names by commas)"
    } else {
        ""
    }
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
mod tests;
