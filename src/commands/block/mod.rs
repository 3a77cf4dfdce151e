//! `block`: asks a sensor over its status socket, or changes what an earlier one left in the kernel.

pub(super) mod exchange;
mod files;
mod left;
mod lists;

use crate::error::Failure;
use crate::log::block_record::shown;
use crate::settings::flags::{BlockAction, BlockCommandArgs};
use crate::time::clock::wall_clock_ns;
use crate::words::{many, printable};
use exchange::ask;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// Longest file of networks: an export of all blocks that there may be, each for a reason of 200 bytes, is shorter.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Asks the sensor and prints its answer. The exit code is 1 if something was refused, or could not be read.
///
/// # Errors
///
/// No sensor answers and none left blocks, it refuses, or standard output fails.
pub fn block(args: &BlockCommandArgs) -> Result<u8, Failure> {
    let is_incomplete = Cell::new(false);
    let ask = |request: Value| {
        let answer = ask(&args.socket, &request)?;
        is_incomplete.set(answer["incomplete"] == true);
        Ok(answer)
    };
    let code = carry_out(args, ask)?;
    Ok(code.max(u8::from(is_incomplete.get())))
}

fn carry_out(
    args: &BlockCommandArgs,
    ask: impl Fn(Value) -> Result<Value, Failure>,
) -> Result<u8, Failure> {
    match &args.action {
        BlockAction::List { json } => {
            let answer = ask(json!({ "do": "list" }))?;
            print(&match json {
                true => format!("{answer}\n"),
                false => lists::table(&answer),
            })
        }
        BlockAction::Export { format } => {
            let answer = ask(json!({ "do": "list" }))?;
            print(&lists::export(&answer, *format, now_s()))
        }
        BlockAction::Add { nets, time, reason } => {
            let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
            let request = json!({ "do": "add", "nets": nets, "for_s": time.0, "reason": reason });
            let answer = ask(request)?;
            done(&answer, "blocked", |net, _| net.to_owned())
        }
        BlockAction::Del { net } => {
            let answer = ask(json!({ "do": "del", "net": net.to_string() }))?;
            let all = format!("let in again: {}", shown(*net));
            let what = let_in(&answer, all, &shown(*net));
            done(&answer, &what, |net, _| net.to_owned())
        }
        BlockAction::Flush => {
            let answer = ask(json!({ "do": "flush" }))?;
            let what = let_in(&answer, "everybody let in again".to_owned(), "everybody");
            done(&answer, &what, |_, _| "all".to_owned())
        }
        BlockAction::Import { file, name, time } => import(file, name, time.0, ask),
    }
}

/// Has the networks of a file blocked for so many seconds at most.
fn import(
    file: &Path,
    name: &str,
    most_s: u32,
    ask: impl Fn(Value) -> Result<Value, Failure>,
) -> Result<u8, Failure> {
    let wrong = |lines: Vec<String>| {
        let lines = lines.join("\nsynledger: ");
        let file = display(file);
        Failure::Run(format!("{file}: {lines}\nsynledger: nothing was changed"))
    };
    let bytes = read(file).map_err(|error| wrong(vec![error.to_string()]))?;
    let text = files::text_of(&bytes).map_err(|why| wrong(vec![why]))?;
    let list = files::parse(text, now_s(), most_s).map_err(wrong)?;
    let over = list.over.iter().map(|line| format!("{line}\n"));
    print(&over.collect::<String>())?;
    if list.nets.is_empty() {
        let none = match list.over.is_empty() {
            true => format!(
                "{}: it names no network; nothing was changed\n",
                display(file)
            ),
            false => String::new(),
        };
        return print(&none);
    }
    let nets: Vec<&String> = list.nets.iter().map(|(_, net)| net).collect();
    // One number for all is what older sensors know.
    let for_s = match list.times_s.iter().all(|time_s| *time_s == most_s) {
        true => json!(most_s),
        false => json!(list.times_s),
    };
    let request = json!({ "do": "import", "nets": nets, "for_s": for_s, "name": name });
    let answer = ask(request)?;
    done(&answer, "blocked", |net, at| list.place_of(net, at))
}

/// What was done, in words: `all`, or where something was refused or could not be read, by which ways to block `who` was.
fn let_in(answer: &Value, all: String, who: &str) -> String {
    let by = lists::items(answer, "by").iter();
    let by: Vec<&str> = by.filter_map(Value::as_str).collect();
    match !lists::items(answer, "refused").is_empty() || answer["incomplete"] == true {
        true => format!("no longer blocked by {}: {who}", by.join(" and ")),
        false => all,
    }
}

/// The wall clock, seconds since the Unix epoch, rounded up: what is left until then is never too long.
fn now_s() -> i64 {
    wall_clock_ns()
        .saturating_add(999_999_999)
        .div_euclid(1_000_000_000)
}

fn display(file: &Path) -> String {
    match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => crate::words::shown(file),
    }
}

/// The bytes of a file, or of standard input.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let max = FILE_BYTES_MAX;
    let read = match file == Path::new("-") {
        true => io::stdin().lock().take(max + 1).read_to_end(&mut bytes)?,
        false => File::open(file)?.take(max + 1).read_to_end(&mut bytes)?,
    };
    match u64::try_from(read).is_ok_and(|read| read <= max) {
        true => Ok(bytes),
        false => Err(io::Error::other(format!(
            "more than {max} bytes: split it, and import each part"
        ))),
    }
}

/// Prints what was done, and what was refused with the reason; `name` is the one of a network in the request, whose place
/// there may be known.
fn done(
    answer: &Value,
    what: &str,
    name: impl Fn(&str, Option<usize>) -> String,
) -> Result<u8, Failure> {
    let carried_out = answer["carried_out"].as_u64().unwrap_or(0);
    let refused = lists::items(answer, "refused");
    let mut text = String::new();
    for one in refused {
        let net = one["net"].as_str().unwrap_or_default();
        let reason = one["reason"].as_str().unwrap_or_default();
        let at = one["at"].as_u64().and_then(|at| usize::try_from(at).ok());
        text += &format!("refused: {}: {reason}\n", name(net, at));
    }
    let dry = match answer["mode"].as_str() {
        Some("dry-run") => " (dry run: nothing is dropped)",
        _ => "",
    };
    if carried_out > 0 {
        let count = match what {
            "blocked" => format!("{}: ", many(carried_out, "network")),
            _ => String::new(),
        };
        text += &format!("{count}{what}{dry}\n");
    }
    print(&text)?;
    Ok(u8::from(!refused.is_empty()))
}

/// Prints to standard output; who closes it is no error.
fn print(text: &str) -> Result<u8, Failure> {
    let written = io::stdout().lock().write_all(printable(text).as_bytes());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::run(error)),
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::flags::ListFormat;

    #[test]
    fn an_export_of_all_blocks_that_there_may_be_is_no_longer_than_a_file_of_an_import() {
        let why = format!("by hand: {}", "\"".repeat(200));
        let block = |n: u32| {
            json!({
                "net": format!("2001:db8:1111:2222:3333:4444:5555:{n:x}/128"),
                "why": why,
                "by": "detection",
                "kind": "distributed_scan",
                "since": "2021-04-28T15:28:05Z",
                "until": "2021-04-28T16:28:05Z",
                "dropped_packets": u64::MAX,
                "dropped_bytes": u64::MAX,
            })
        };
        let blocks: Vec<Value> = (0..65_536).map(block).collect();
        let text = lists::export(&json!({ "blocks": blocks }), ListFormat::Json, 0);
        assert!(text.len() > 24 << 20, "{} bytes", text.len());
        assert!(text.len() as u64 <= FILE_BYTES_MAX, "{} bytes", text.len());
        let read = files::parse(&text, 0, 60).expect("it is a list");
        assert_eq!(read.nets.len(), 65_536);
    }

    #[test]
    fn everybody_is_let_in_only_where_all_was_read_and_nothing_refused() {
        let words = |answer: Value| let_in(&answer, "all".to_owned(), "everybody");
        assert_eq!(words(json!({ "refused": [] })), "all");
        let by = json!(["nft", "xdp"]);
        let partly = "no longer blocked by nft and xdp: everybody";
        let refused = json!({ "by": by, "refused": [{ "net": "all" }] });
        assert_eq!(words(refused), partly);
        let unread = json!({ "by": by, "refused": [], "incomplete": true });
        assert_eq!(words(unread), partly);
    }
}
