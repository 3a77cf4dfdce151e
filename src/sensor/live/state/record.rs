//! The record in the state file: one line of fixed length, which a person can read, too.

use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::Hasher as _;

const NAME: &str = "synledger-state ";
/// Grows when the meaning of a field changes.
const VERSION: &str = "1";
const CHECKSUM: &str = " checksum=";
/// Bytes of a record: less than a page, so that one write(2) is not interrupted by SIGKILL.
pub(super) const RECORD_LEN: usize = 192;
/// Bytes of a boot id.
const BOOT_ID_LEN: usize = 36;
/// Stands for a boot id that cannot be read: it differs from every other.
pub(super) const NO_BOOT_ID: &str = "-";

/// The last moment that a run watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Nanoseconds since the Unix epoch.
    pub watched_ns: i64,
    /// The same moment by CLOCK_BOOTTIME.
    pub boot_ns: i64,
    /// The kernel's id of this boot.
    pub boot_id: String,
    pub process: u32,
    /// The run ended by itself.
    pub stopped: bool,
}

/// Why a file has no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Its version.
    Version(String),
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "it has version {version}, this program {VERSION}")
            }
            Self::Damaged => f.write_str("it is damaged, or another program's"),
        }
    }
}

impl Record {
    /// The line, padded with spaces.
    pub(super) fn line(&self) -> [u8; RECORD_LEN] {
        let mut text = format!(
            "{NAME}{VERSION} watched_ns={} boottime_ns={} boot_id={} process={} stopped={}",
            self.watched_ns,
            self.boot_ns,
            self.boot_id,
            self.process,
            u8::from(self.stopped)
        );
        let sum = checksum(&text);
        text += &format!("{CHECKSUM}{sum:016x}");
        let mut line = [b' '; RECORD_LEN];
        line[..text.len()].copy_from_slice(text.as_bytes());
        line[RECORD_LEN - 1] = b'\n';
        line
    }

    /// Reads what a file holds; `Ok(None)`: nothing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Damaged)?;
        let rest = text.strip_prefix(NAME).ok_or(Unreadable::Damaged)?;
        let version = rest.split(' ').next().unwrap_or_default();
        let is_number = |text: &str| text.len() < 10 && text.parse::<u32>().is_ok();
        match version {
            VERSION => {}
            other if is_number(other) => return Err(Unreadable::Version(other.to_owned())),
            _ => return Err(Unreadable::Damaged),
        }
        Self::fields(text).map(Some).ok_or(Unreadable::Damaged)
    }

    fn fields(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n')?;
        let (summed, sum) = line.trim_end_matches(' ').split_once(CHECKSUM)?;
        if text.len() != RECORD_LEN || sum != format!("{:016x}", checksum(summed)) {
            return None;
        }
        let mut words = summed.split(' ').skip(2);
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let record = Self {
            watched_ns: field("watched_ns")?.parse().ok()?,
            boot_ns: field("boottime_ns")?.parse().ok()?,
            boot_id: field("boot_id")?.to_owned(),
            process: field("process")?.parse().ok()?,
            stopped: field("stopped")? == "1",
        };
        (record.boot_id.len() <= BOOT_ID_LEN).then_some(record)
    }
}

/// Detects damage; nobody is kept from forging it.
fn checksum(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The kernel's id of this boot.
pub(super) fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let id = read.map(|text| text.trim().to_owned()).unwrap_or_default();
    let is_right = id.len() == BOOT_ID_LEN && !id.contains([' ', '\n']);
    if is_right { id } else { NO_BOOT_ID.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            watched_ns: i64::MIN,
            boot_ns: i64::MIN,
            boot_id: "f".repeat(BOOT_ID_LEN),
            process: u32::MAX,
            stopped: true,
        }
    }

    #[test]
    fn the_longest_record_fits_and_is_read_back() {
        assert_eq!(Record::parse(&record().line()), Ok(Some(record())));
        let running = Record {
            stopped: false,
            boot_id: NO_BOOT_ID.to_owned(),
            ..record()
        };
        assert_eq!(Record::parse(&running.line()), Ok(Some(running)));
        assert_eq!(Record::parse(b""), Ok(None));
    }

    #[test]
    fn this_hosts_boot_id_is_whole() {
        assert_eq!(boot_id().len(), BOOT_ID_LEN);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let line = record().line();
        for at in 0..RECORD_LEN {
            for change in [1, 0x80] {
                let mut changed = line;
                changed[at] ^= change;
                let parsed = Record::parse(&changed);
                assert!(parsed.is_err(), "byte {at}: {parsed:?}");
            }
            if at > 0 {
                assert_eq!(Record::parse(&line[..at]), Err(Unreadable::Damaged), "{at}");
            }
        }
        let longer = [&line[..], b"\n"].concat();
        assert_eq!(Record::parse(&longer), Err(Unreadable::Damaged));
    }

    #[test]
    fn another_version_is_named() {
        let other = String::from_utf8(record().line().to_vec()).expect("text");
        let other = other.replacen("state 1", "state 7", 1);
        let why = Record::parse(other.as_bytes()).expect_err("not ours");
        assert_eq!(why.to_string(), "it has version 7, this program 1");
    }
}
