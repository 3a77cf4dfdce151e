//! Reads the sensor's EVE log. Only needed fields are parsed, to keep up with the writer.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use memchr::memmem;
use serde_json::Value;

use crate::traffic::{Attempt, Ends};

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum LogLine {
    /// One new connection.
    Connection(Attempt),
    /// New connections to one port, folded into one record.
    Folded {
        /// Destination.
        to: (IpAddr, u16),
        /// Number of connections.
        count: u64,
    },
    /// An ended connection.
    Flow {
        /// Both ends, client first.
        ends: Ends,
        /// Packets from the client and from the server.
        packets: (u64, u64),
    },
    /// The start of a port scan.
    Scan {
        /// The scanner.
        src: IpAddr,
        /// Time of the deciding packet, in nanoseconds since 1970.
        ts_ns: i64,
    },
    /// The last record of statistics.
    Books(Box<Value>),
    /// Any other line.
    Other,
}

/// Reads all lines of a log.
///
/// # Errors
///
/// When it cannot be read, or a line is malformed; the error has the line.
pub fn read(path: &Path, mut take: impl FnMut(LogLine)) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut number) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        number += 1;
        let read = reader.read_until(b'\n', &mut line);
        if read.with_context(|| path.display().to_string())? == 0 {
            return Ok(());
        }
        let parsed = parse(&line).with_context(|| {
            let text = String::from_utf8_lossy(&line);
            format!("{}:{number}: {}", path.display(), text.trim())
        })?;
        take(parsed);
    }
}

/// Reads one line.
///
/// # Errors
///
/// When a member of its kind is missing.
pub fn parse(line: &[u8]) -> Result<LogLine> {
    let mut fields = Fields(line);
    let kind = fields.string("event_type")?;
    match kind {
        b"new_connection" => Ok(LogLine::Connection(attempt(&mut fields)?)),
        b"new_connections" => folded(line),
        b"flow" => flow(line),
        b"alert" => alert(line),
        b"stats" => {
            let value: Value = serde_json::from_slice(line)?;
            let last = value["synledger"]["final"] == true;
            Ok(if last {
                LogLine::Books(Box::new(value))
            } else {
                LogLine::Other
            })
        }
        _ => Ok(LogLine::Other),
    }
}

fn attempt(fields: &mut Fields<'_>) -> Result<Attempt> {
    let src = word::<IpAddr>(fields.string("src_ip")?)?;
    let src_port = word(fields.number("src_port")?)?;
    let dst = word::<IpAddr>(fields.string("dest_ip")?)?;
    let dst_port = word(fields.number("dest_port")?)?;
    let isn = word(fields.number("isn")?)?;
    Ok(Attempt {
        ends: ends(src, src_port, dst, dst_port),
        isn,
    })
}

fn ends(src: IpAddr, src_port: u16, dst: IpAddr, dst_port: u16) -> Ends {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    Ends {
        v6: src.is_ipv6(),
        src: bits(src),
        dst: bits(dst),
        src_port,
        dst_port,
    }
}

fn address(value: &Value) -> Result<IpAddr> {
    word(value.as_str().context("an address")?.as_bytes())
}

fn port(value: &Value) -> Result<u16> {
    Ok(u16::try_from(value.as_u64().context("a port")?)?)
}

fn folded(line: &[u8]) -> Result<LogLine> {
    let value: Value = serde_json::from_slice(line)?;
    let count = value["synledger"]["fold"]["count"].as_u64();
    Ok(LogLine::Folded {
        to: (address(&value["dest_ip"])?, port(&value["dest_port"])?),
        count: count.context("synledger.fold.count")?,
    })
}

fn flow(line: &[u8]) -> Result<LogLine> {
    let value: Value = serde_json::from_slice(line)?;
    // A protocol without ports.
    if value["src_port"].is_null() {
        return Ok(LogLine::Other);
    }
    let (src, dst) = (address(&value["src_ip"])?, address(&value["dest_ip"])?);
    let (from, to) = (port(&value["src_port"])?, port(&value["dest_port"])?);
    let packets = |name: &str| value["flow"][name].as_u64().context("a number of packets");
    Ok(LogLine::Flow {
        ends: ends(src, from, dst, to),
        packets: (packets("pkts_toserver")?, packets("pkts_toclient")?),
    })
}

fn alert(line: &[u8]) -> Result<LogLine> {
    let value: Value = serde_json::from_slice(line)?;
    let scan = &value["synledger"]["scan"];
    if scan["kind"] != "port_scan" || scan["phase"] != "started" {
        return Ok(LogLine::Other);
    }
    Ok(LogLine::Scan {
        src: address(&value["src_ip"])?,
        ts_ns: timestamp_ns(line).context("a time stamp")?,
    })
}

/// The time stamp of a line, in nanoseconds since 1970 (exact to the microsecond).
#[must_use]
pub fn timestamp_ns(line: &[u8]) -> Option<i64> {
    // {"timestamp":"2021-04-28T15:28:05.123456+0000"
    let text = line.strip_prefix(b"{\"timestamp\":\"")?.get(..26)?;
    let number = |from: usize, to: usize| -> Option<i64> {
        text[from..to].iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let days = days_since_1970(year, month, day);
    Some(((days * 86_400 + seconds) * 1_000_000 + number(20, 26)?) * 1000)
}

/// Source: Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The unread rest of a line. Members are read in the log's fixed order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The text behind `"name":`.
    fn after(&mut self, name: &'static str) -> Result<&'a [u8]> {
        for at in memmem::find_iter(self.0, name.as_bytes()) {
            let before = at.checked_sub(1).and_then(|quote| self.0.get(quote));
            let behind = self.0.get(at + name.len()..).unwrap_or_default();
            if let (Some(b'"'), Some(value)) = (before, behind.strip_prefix(b"\":")) {
                self.0 = value;
                return Ok(value);
            }
        }
        Err(anyhow::anyhow!("no member {name}"))
    }

    fn string(&mut self, name: &'static str) -> Result<&'a [u8]> {
        let value = self.after(name)?.strip_prefix(b"\"").context(name)?;
        let end = memchr::memchr(b'"', value).context(name)?;
        Ok(&value[..end])
    }

    fn number(&mut self, name: &'static str) -> Result<&'a [u8]> {
        let value = self.after(name)?;
        let end = value.iter().position(|byte| !byte.is_ascii_digit());
        Ok(&value[..end.context(name)?])
    }
}

fn word<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(bytes: &[u8]) -> Result<T> {
    Ok(std::str::from_utf8(bytes)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"timestamp":"2021-04-28T15:28:05.123456+0000","host":"h","#;

    #[test]
    fn a_connection_a_fold_and_an_alert_are_parsed() {
        let ends = r#""src_ip":"192.0.2.56","src_port":5973,"dest_ip":"10.0.0.5","dest_port":80"#;
        let one = format!(
            "{HEAD}\"flow_id\":1,\"event_type\":\"new_connection\",{ends},\"proto\":\"TCP\",\
             \"synledger\":{{\"isn\":4294967295,\"direction\":\"in\"}}}}\n"
        );
        let attempt = Attempt {
            ends: Ends::v4(0xC000_0238, 5973, 0x0A00_0005, 80),
            isn: u32::MAX,
        };
        assert_eq!(
            parse(one.as_bytes()).expect("a line"),
            LogLine::Connection(attempt)
        );
        let many = format!(
            "{HEAD}\"event_type\":\"new_connections\",\"dest_ip\":\"2001:db8::1\",\"dest_port\":80,\
             \"synledger\":{{\"fold\":{{\"count\":12}}}}}}\n"
        );
        let to = ("2001:db8::1".parse().expect("an address"), 80);
        let folded = LogLine::Folded { to, count: 12 };
        assert_eq!(parse(many.as_bytes()).expect("a line"), folded);
        let alert = format!(
            "{HEAD}\"event_type\":\"alert\",{ends},\
             \"synledger\":{{\"scan\":{{\"kind\":\"port_scan\",\"phase\":\"started\"}}}}}}\n"
        );
        let scan = LogLine::Scan {
            src: "192.0.2.56".parse().expect("an address"),
            ts_ns: 1_619_623_685_123_456_000,
        };
        assert_eq!(parse(alert.as_bytes()).expect("a line"), scan);
        let error = parse(format!("{HEAD}\"event_type\":\"new_connection\"}}").as_bytes());
        assert!(error.expect_err("no ends").to_string().contains("src_ip"));
    }

    #[test]
    fn time_stamps_agree_with_jiff() {
        for text in [
            "1970-01-01T00:00:00.000001",
            "2024-02-29T23:59:59.999999",
            "2100-03-01T12:00:00.000000",
        ] {
            let line = format!("{{\"timestamp\":\"{text}+0000\"}}");
            let time: jiff::Timestamp = format!("{text}Z").parse().expect("a time");
            let expected = i64::try_from(time.as_nanosecond()).expect("292 years");
            assert_eq!(timestamp_ns(line.as_bytes()), Some(expected), "{text}");
        }
        assert_eq!(timestamp_ns(b"{\"timestamp\":\"x\""), None);
    }
}
