//! Requests and answers of the status socket: one object of JSON each, on one line, with the version as `synledger`.
//!
//! Requests have `do`: `top`; `list`; `add` with `nets`, `for_s` and `reason`; `import` with `nets`, `for_s` and `name`; `del` with
//! `net`; `flush`. `for_s` is a number of seconds, or a list of one for each network. Answers have `ok`. Where it is false, nothing was changed, and `error` is one sentence.

use crate::host::addresses::parse_network;
use crate::log::block_record::Why;
use crate::log::formats::stamp::Stamp;
use crate::respond::block::desk::{Desk, Row, Told, Wish};
use crate::respond::block::orders::Refusal;
use crate::respond::guard::mapped_to_v4;
use crate::words::{cut, not_plain};
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::timeout;

/// Of the protocol.
pub(crate) const VERSION: u64 = 1;
/// Longest request: that many networks take less.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Most networks of a request.
const NETS_MAX: usize = 65_536;
/// Commas and brackets beside those of the networks and their times, also within words.
const OTHER_PARTS_MAX: usize = 512;
/// Longest part of a wrong value that an answer repeats, in characters.
const SHOWN_MAX: usize = 60;
/// Longest reason or name, in bytes.
const WORDS_MAX: usize = 200;
/// The firewall has so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A year, as for `--block-times`.
const TIME_MAX_S: u64 = 365 * 86_400;

/// The answer to a wish, with its newline.
pub(super) async fn answer(desk: &Desk, wish: Wish) -> String {
    let told = match desk.hand_in(wish) {
        Ok(told) => told,
        Err(error) => return refused(&error),
    };
    match timeout(PATIENCE, told).await {
        Ok(Ok(told)) => rendered(desk, told),
        Ok(Err(_)) => refused("the sensor is ending"),
        Err(_) => refused(
            "it was ordered, and the firewall has not answered yet: `synledger block list` shows what became of it",
        ),
    }
}

/// An answer that nothing was changed.
pub(super) fn refused(error: &str) -> String {
    let answer = json!({ "synledger": VERSION, "ok": false, "error": error });
    format!("{answer}\n")
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// What a screen shows.
    Top,
    /// Something about blocks.
    Wish(Wish),
}

/// What a line asks for. The error is one sentence.
pub(super) fn request(line: &[u8]) -> Result<Request, String> {
    let request = parsed(line)?;
    match request["do"] == "top" {
        true => Ok(Request::Top),
        false => of_blocks(&request).map(Request::Wish),
    }
}

/// What a line asks for of blocks. The error is one sentence.
pub(crate) fn wish(line: &[u8]) -> Result<Wish, String> {
    of_blocks(&parsed(line)?)
}

fn parsed(line: &[u8]) -> Result<Value, String> {
    // Each value of JSON takes many times its bytes in memory.
    let parts = line.iter().filter(|byte| b",[{".contains(byte)).count();
    if parts > 2 * NETS_MAX + OTHER_PARTS_MAX {
        return Err(format!("nets must be 1 to {NETS_MAX} networks"));
    }
    let request: Value = serde_json::from_slice(line).map_err(|_| "no JSON".to_owned())?;
    if request["synledger"] != json!(VERSION) {
        let version = request["synledger"].to_string();
        let version = cut(&version, SHOWN_MAX);
        return Err(format!(
            "this sensor speaks version {VERSION} of the protocol, and not {version}: take `synledger block` of its version"
        ));
    }
    Ok(request)
}

fn of_blocks(request: &Value) -> Result<Wish, String> {
    match request["do"].as_str().unwrap_or_default() {
        "list" => Ok(Wish::List),
        "flush" => Ok(Wish::Flush),
        "del" => Ok(Wish::Remove(net(&request["net"])?)),
        "add" => added(request, Why::Hand(words(request, "reason")?.into())),
        "import" => {
            let name = words(request, "name")?;
            match name.is_empty() {
                true => Err("an import has a name".to_owned()),
                false => added(request, Why::Import(name.into())),
            }
        }
        other => Err(format!(
            "do \"{}\" must be top, list, add, del, flush or import",
            cut(other, SHOWN_MAX).escape_debug()
        )),
    }
}

fn added(request: &Value, why: Why) -> Result<Wish, String> {
    let nets = request["nets"].as_array().ok_or("nets must be a list")?;
    if nets.is_empty() || nets.len() > NETS_MAX {
        return Err(format!("nets must be 1 to {NETS_MAX} networks"));
    }
    let nets = nets.iter().map(net).collect::<Result<Vec<_>, _>>()?;
    let times_s = match &request["for_s"] {
        Value::Array(all) => all.iter().map(time_s).collect::<Result<_, _>>()?,
        one => vec![time_s(one)?; nets.len()],
    };
    match times_s.len() == nets.len() {
        true => Ok(Wish::Add {
            nets: nets.into_iter().zip(times_s).collect(),
            why,
        }),
        false => Err("for_s must be a number, or a list of one for each of nets".to_owned()),
    }
}

fn time_s(value: &Value) -> Result<u32, String> {
    let in_range = |time_s: &u64| (1..=TIME_MAX_S).contains(time_s);
    let time_s = value.as_u64().filter(in_range);
    let time_s = time_s.and_then(|time_s| u32::try_from(time_s).ok());
    time_s.ok_or_else(|| format!("for_s must be 1 to {TIME_MAX_S} seconds"))
}

/// A network whose address is its first one. That of mapped addresses (`::ffff:0:0/96`) is IPv4.
fn net(value: &Value) -> Result<IpNet, String> {
    let text = value.as_str().ok_or("a network is a string")?;
    let text = cut(text, SHOWN_MAX);
    let net = parse_network(&text)?;
    match net.trunc() == net {
        true => Ok(mapped_to_v4(&net).unwrap_or(net)),
        false => Err(format!(
            "{net} has bits behind its length: {} is meant?",
            net.trunc()
        )),
    }
}

/// A person's words.
fn words<'a>(request: &'a Value, name: &str) -> Result<&'a str, String> {
    let words = request[name].as_str().unwrap_or_default();
    if words.len() > WORDS_MAX {
        return Err(format!("{name} must have at most {WORDS_MAX} bytes"));
    }
    match not_plain(words) {
        None => Ok(words),
        Some(why) => Err(format!("{name} must be one line of plain words: {why}")),
    }
}

fn rendered(desk: &Desk, told: Told) -> String {
    let mut head = Map::new();
    head.insert("synledger".to_owned(), json!(VERSION));
    head.insert("ok".to_owned(), json!(true));
    head.insert("mode".to_owned(), json!(desk.mode));
    head.insert("sensor".to_owned(), json!(&*desk.sensor));
    match told {
        Told::Refused(error) => refused(&error),
        Told::Rows(rows) => with_list(head, "blocks", rows.iter().map(row)),
        Told::Done(done) => {
            head.insert("carried_out".to_owned(), json!(done.carried_out));
            with_list(head, "refused", done.refused.iter().map(not_done))
        }
    }
}

/// An object with a list as its last member. Of the list, only its text is ever whole in memory.
fn with_list(head: Map<String, Value>, name: &str, list: impl Iterator<Item = Value>) -> String {
    let mut out = Value::Object(head).to_string();
    out.pop();
    let _ = write!(out, ",\"{name}\":[");
    for (at, one) in list.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{one}");
    }
    out += "]}\n";
    out
}

fn not_done(refusal: &Refusal) -> Value {
    let mut all = json!({ "net": refusal.net.to_string(), "reason": refusal.why });
    if let Some(at) = refusal.at {
        all["at"] = json!(at);
    }
    all
}

fn row(row: &Row) -> Value {
    let mut all = json!({
        "net": row.net.to_string(),
        "why": row.why.to_string(),
        "by": row.why.word(),
        "since": stamp(row.since_ns),
        "until": row.until_ns.map(stamp),
    });
    if let Why::Detection(cause) = &row.why {
        all["kind"] = json!(cause.kind.word());
    }
    if let Some((packets, bytes)) = row.dropped {
        all["dropped_packets"] = json!(packets);
        all["dropped_bytes"] = json!(bytes);
    }
    all
}

/// `2021-04-28T15:28:05Z`
pub(crate) fn stamp(wall_ns: i64) -> String {
    let mut out = Vec::new();
    Stamp::iso().append_seconds(&mut out, wall_ns);
    out.push(b'Z');
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_what_is_wrong_is_named() {
        let read = |text: &str| wish(text.as_bytes());
        assert_eq!(read(r#"{"synledger":1,"do":"list"}"#), Ok(Wish::List));
        let one: IpNet = "192.0.2.1/32".parse().expect("a network");
        let add = r#"{"synledger":1,"do":"add","nets":["192.0.2.1"],"for_s":60,"reason":"x"}"#;
        let why = Why::Hand("x".into());
        let nets = vec![(one, 60)];
        assert_eq!(read(add), Ok(Wish::Add { nets, why }));
        let del = r#"{"synledger":1,"do":"del","net":"192.0.2.1/32"}"#;
        assert_eq!(read(del), Ok(Wish::Remove(one)));
        let del = r#"{"synledger":1,"do":"del","net":"::ffff:192.0.2.1"}"#;
        assert_eq!(read(del), Ok(Wish::Remove(one)), "a mapped address");
        let whole = |rest: &str| read(&format!(r#"{{"synledger":1,{rest}}}"#));
        for (wrong, says) in [
            (read("x"), "no JSON"),
            (read("{}"), "version 1"),
            (read(r#"{"synledger":2,"do":"list"}"#), "and not 2"),
            (whole(r#""do":"eat""#), "must be top, list, add, del"),
            (whole(r#""do":"del","net":7"#), "a string"),
            (whole(r#""do":"del","net":"host"#), "no JSON"),
            (whole(r#""do":"del","net":"host""#), "must be a network"),
            (
                whole(r#""do":"del","net":"192.0.2.1/24""#),
                "192.0.2.0/24 is meant",
            ),
            (whole(r#""do":"add","nets":[]"#), "1 to 65536"),
            (
                whole(r#""do":"add","nets":["::1"],"for_s":0"#),
                "for_s must be",
            ),
            (
                whole(r#""do":"add","nets":["::1"],"for_s":1,"reason":"a\nb""#),
                "reason must be one line of plain words: character 2 is U+000A: it is a control character",
            ),
            (
                whole("\"do\":\"add\",\"nets\":[\"::1\"],\"for_s\":1,\"reason\":\"a\u{202e}b\""),
                "reason must be one line of plain words: character 2 is U+202E: it changes the direction of text",
            ),
            (
                whole("\"do\":\"import\",\"nets\":[\"::1\"],\"for_s\":1,\"name\":\"drop\u{200b}\""),
                "name must be one line of plain words: character 5 is U+200B: nobody sees it",
            ),
            (
                whole(&format!(
                    "\"do\":\"del\",\"net\":\"{}\"",
                    "9".repeat(1 << 20)
                )),
                "999… must be a network",
            ),
            (
                whole(&format!(
                    "\"do\":\"list\",\"nets\":[{}0]",
                    "0,".repeat(140_000)
                )),
                "1 to 65536 networks",
            ),
            (
                whole(r#""do":"import","nets":["::1"],"for_s":1"#),
                "has a name",
            ),
        ] {
            let error = wrong.expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_time_is_that_of_all_networks_or_each_has_its_own() {
        let read = |for_s: &str| -> Result<Vec<u32>, String> {
            let nets = r#""nets":["192.0.2.1","::1"],"name":"x""#;
            let text = format!(r#"{{"synledger":1,"do":"import",{nets},"for_s":{for_s}}}"#);
            match wish(text.as_bytes())? {
                Wish::Add { nets, .. } => Ok(nets.iter().map(|(_, time_s)| *time_s).collect()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read("7"), Ok(vec![7, 7]));
        assert_eq!(read("[1,2]"), Ok(vec![1, 2]));
        for (for_s, says) in [
            ("[1]", "a list of one for each of nets"),
            ("[1,2,3]", "a list of one for each of nets"),
            ("[1,0]", "for_s must be 1 to 31536000 seconds"),
            ("[1,\"2\"]", "for_s must be 1 to 31536000 seconds"),
            ("[]", "a list of one for each of nets"),
        ] {
            let error = read(for_s).expect_err(for_s);
            assert!(error.contains(says), "{error}");
        }
    }
}
