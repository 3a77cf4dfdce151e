//! Networks read from files.

use crate::host::addresses::parse_network;
use crate::words::{cut, many};
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::Value;

/// Longest part of a wrong line that is shown, in characters; no network is longer.
const SHOWN_MAX: usize = 60;
/// Most wrong lines that are named.
const WRONG_MAX: usize = 20;

/// A line number, from 1, or a place in an array, and a network.
type Named = (usize, String);

/// Seconds since the Unix epoch; `None`: it is no time such as `2021-04-28T15:28:05Z`. A last day of all, as programs write
/// it for ever, is beyond what can be counted.
pub fn seconds(text: &str) -> Option<i64> {
    let counted = text.parse::<Timestamp>().map(Timestamp::as_second);
    let far = || match text.trim_end_matches(['Z', 'z']).parse::<DateTime>() {
        Ok(day) if day.year() >= 9_999 => Some(i64::MAX),
        Ok(day) if day.year() <= -9_999 => Some(i64::MIN),
        _ => None,
    };
    counted.ok().or_else(far)
}

/// The text in a file, without the byte order mark that some editors write.
///
/// # Errors
///
/// Names the first line that is no text.
pub fn text_of(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = bytes[error.valid_up_to()];
        format!("line {line}: it is no text in UTF-8 (byte 0x{byte:02x}): convert the file")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Networks of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// What the numbers count: lines, or entries of an array.
    place: &'static str,
    pub nets: Vec<Named>,
    /// Seconds that each is to be blocked.
    pub times_s: Vec<u32>,
    /// A sentence for each whose end is over.
    pub over: Vec<String>,
}

/// A line number or place, a word that should be a network, and its end, where that is said.
struct Found {
    line: usize,
    word: String,
    until: Value,
}

/// Networks of a file: lines with comments behind `#`, a JSON array of strings or objects with `net`, or the elements of
/// an nft script. Each is to be blocked for `most_s` seconds from `now_s` on, one with `until` no longer than until then.
///
/// # Errors
///
/// A sentence for each wrong line, of the first twenty; also where there are lines, but no network. An array may be empty.
pub fn parse(text: &str, now_s: i64, most_s: u32) -> Result<Listed, Vec<String>> {
    let (place, found) = match text.trim_start().starts_with('[') {
        true => ("entry", from_json(text)?),
        false => ("line", from_lines(text)),
    };
    if found.is_empty() && place == "line" {
        return Err(vec!["it names no network".to_owned()]);
    }
    let mut listed = Listed {
        place,
        ..Listed::default()
    };
    let mut wrong = Vec::new();
    for one in found {
        let line = one.line;
        match checked(&one, now_s, most_s) {
            Ok((net, Some(time_s))) => {
                listed.nets.push((line, net.to_string()));
                listed.times_s.push(time_s);
            }
            Ok((net, None)) => {
                let until = one.until.as_str().unwrap_or_default();
                let over = format!("skipped: {place} {line}: {net}: it ended at {until}");
                listed.over.push(over);
            }
            Err(why) => wrong.push(format!("{place} {line}: {}", why.escape_debug())),
        }
    }
    let more = wrong.len().saturating_sub(WRONG_MAX);
    wrong.truncate(WRONG_MAX);
    if more > 0 {
        let what = if place == "line" { "line" } else { "one" };
        wrong.push(format!("{} more", many(more, &format!("wrong {what}"))));
    }
    match wrong.is_empty() {
        true => Ok(listed),
        false => Err(wrong),
    }
}

/// A network, and the seconds that it has left; `None`: its end is over. The error is one sentence.
fn checked(found: &Found, now_s: i64, most_s: u32) -> Result<(IpNet, Option<u32>), String> {
    let word = cut(&found.word, SHOWN_MAX);
    let net = parse_network(&word)?;
    if net.trunc() != net {
        let meant = net.trunc();
        return Err(format!(
            "{word} has bits behind its length; is {meant} meant?"
        ));
    }
    if found.until.is_null() {
        return Ok((net, Some(most_s)));
    }
    let end_s = found.until.as_str().and_then(seconds).ok_or_else(|| {
        let until = found.until.to_string();
        let until = cut(&until, SHOWN_MAX);
        format!("until {until} must be a time such as \"2021-04-28T15:28:05Z\", or null")
    })?;
    let left_s = end_s.saturating_sub(now_s).max(0);
    let time_s = u32::try_from(left_s).map_or(most_s, |left_s| left_s.min(most_s));
    Ok((net, Some(time_s).filter(|time_s| *time_s > 0)))
}

fn from_json(text: &str) -> Result<Vec<Found>, Vec<String>> {
    let all: Vec<Value> = serde_json::from_str(text)
        .map_err(|error| vec![format!("it is no JSON array: {error}")])?;
    let found = |(at, value): (usize, &Value)| {
        let word = value.as_str().or(value["net"].as_str());
        Found {
            line: at + 1,
            word: word.map_or_else(|| value.to_string(), str::to_owned),
            until: value["until"].clone(),
        }
    };
    Ok(all.iter().enumerate().map(found).collect())
}

fn from_lines(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let is_script = text
        .lines()
        .any(|line| line.trim_start().starts_with("add element "));
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let one = |word: &str| Found {
            line: at + 1,
            word: word.to_owned(),
            until: Value::Null,
        };
        match is_script {
            true => {
                let elements = line.strip_prefix("add element ");
                let inside = elements.and_then(|rest| rest.split_once('{')?.1.split_once('}'));
                let all = inside.into_iter().flat_map(|(inside, _)| inside.split(','));
                // A timeout may follow.
                let words = all.filter_map(|one| one.split_whitespace().next());
                found.extend(words.map(one));
            }
            false if line.is_empty() => {}
            false => found.push(one(line)),
        }
    }
    found
}

impl Listed {
    /// The place that names this network, for a person: `line 7: 192.0.2.9/32`. `at`: its place in the list, where that is
    /// known.
    pub fn place_of(&self, net: &str, at: Option<usize>) -> String {
        let by_name = || self.nets.iter().find(|(_, one)| one == net);
        match at.and_then(|at| self.nets.get(at)).or_else(by_name) {
            Some((line, _)) => format!("{} {line}: {net}", self.place),
            None => net.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2021-04-28T15:28:05Z
    const NOW_S: i64 = 1_619_623_685;

    /// With 24 hours at most.
    fn read(text: &str) -> Result<Listed, Vec<String>> {
        parse(text, NOW_S, 86_400)
    }

    #[test]
    fn wrong_lines_are_named_with_their_number() {
        let text = "# list\n192.0.2.1\n\n192.0.2.1/24 # x\nhost\n10.0.0.0/8\n";
        let wrong = read(text).expect_err("two wrong lines");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].starts_with("line 4: 192.0.2.1/24 has bits"),
            "{wrong:?}"
        );
        assert!(
            wrong[1].starts_with("line 5: host must be a network"),
            "{wrong:?}"
        );
        let many: String = (0..30).map(|_| "x\n").collect();
        let wrong = read(&many).expect_err("all");
        assert_eq!(
            (wrong.len(), wrong[20].as_str()),
            (21, "10 wrong lines more")
        );
        assert_eq!(
            read("# nothing\n"),
            Err(vec!["it names no network".to_owned()])
        );
        assert!(read("[1").is_err());
        let wrong = read("192.0.2.1\n192.0.2.0/08\n").expect_err("octal?");
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(
            wrong[0].starts_with("line 2: 192.0.2.0/08 must be"),
            "{wrong:?}"
        );
        let list = read("\n192.0.2.9\n::1\n192.0.2.9\n").expect("three");
        let line = |at| list.place_of("192.0.2.9/32", at);
        assert_eq!(line(None), "line 2: 192.0.2.9/32");
        assert_eq!(line(Some(2)), "line 4: 192.0.2.9/32");
        assert_eq!(list.place_of("::2/128", None), "::2/128");
        let list = read("[\"::1\"]").expect("one");
        assert_eq!(list.place_of("::1/128", None), "entry 1: ::1/128");
        assert_eq!(read(" [ ]").expect("an empty array").nets, []);
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_word_and_what_is_no_text_is_named_with_its_line() {
        let text = text_of(b"\xef\xbb\xbf192.0.2.9\n").expect("text");
        assert_eq!(read(text).expect("one").nets.len(), 1);
        let why = text_of(b"::1\n::2\n::\xff\n").expect_err("no text");
        assert!(
            why.starts_with("line 3: it is no text in UTF-8 (byte 0xff)"),
            "{why}"
        );
    }

    #[test]
    fn of_a_long_line_only_its_beginning_is_shown() {
        let long = "ä".repeat(1 << 20);
        for (text, place) in [
            (long.clone(), "line 1: "),
            (format!("[{{\"net\":\"{long}\"}}]"), "entry 1: "),
            (format!("[[\"{long}\"]]"), "entry 1: "),
        ] {
            let wrong = read(&text).expect_err("no network");
            assert!(wrong[0].starts_with(place), "{}", wrong[0].len());
            assert!(
                wrong[0].contains('…') && wrong[0].len() < 300,
                "{}",
                wrong[0].len()
            );
        }
    }

    #[test]
    fn elements_of_a_script_may_share_a_line_and_have_timeouts() {
        let text =
            "flush set inet a b\nadd element inet a b { 192.0.2.1 timeout 1h, 192.0.2.128/25 }\n";
        let read = read(text).expect("a script");
        let expected = [(2, "192.0.2.1/32"), (2, "192.0.2.128/25")];
        assert_eq!(
            read.nets,
            expected.map(|(line, net)| (line, net.to_owned()))
        );
    }

    #[test]
    fn an_end_is_kept_up_to_the_time_of_the_import_and_what_is_over_is_skipped_and_named() {
        let text = r#"[
            {"net": "192.0.2.1", "until": "2021-04-28T15:29:05Z"},
            {"net": "192.0.2.2", "until": "2021-04-28T15:28:05Z"},
            {"net": "192.0.2.3", "until": "9999-12-31T23:59:59Z"},
            {"net": "192.0.2.4", "until": null},
            "192.0.2.5",
            {"net": "192.0.2.6", "until": "9999-12-31T23:59:59+00:00"}
        ]"#;
        let list = read(text).expect("an array");
        assert_eq!(list.times_s, [60, 86_400, 86_400, 86_400, 86_400]);
        assert_eq!(list.nets[1], (3, "192.0.2.3/32".to_owned()));
        let over = "skipped: entry 2: 192.0.2.2/32: it ended at 2021-04-28T15:28:05Z";
        assert_eq!(list.over, [over]);
        for past in [
            "1970-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "-009999-01-01T00:00:00Z",
        ] {
            let all_over = format!(r#"[{{"net": "::1", "until": "{past}"}}]"#);
            let list = read(&all_over).expect("an array");
            assert_eq!((list.nets.len(), list.over.len()), (0, 1), "{past}");
        }
        for until in ["7", "\"tomorrow\"", "[]", "\"2021-02-30T00:00:00Z\""] {
            let text = format!("[{{\"net\": \"::1\", \"until\": {until}}}]");
            let wrong = read(&text).expect_err("no time");
            assert!(
                wrong[0].contains("must be a time such as"),
                "{until}: {wrong:?}"
            );
        }
    }
}
