//! Lists of blocks, printed.

use super::files::seconds;
use crate::log::block_record::shown;
use crate::settings::flags::ListFormat;
use crate::words::many;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::fmt::Write as _;

/// The members of a list in an answer; none where there is no such list.
pub fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn net(block: &Value) -> Option<IpNet> {
    text(block, "net").parse().ok()
}

fn name(block: &Value) -> String {
    net(block).map_or_else(|| text(block, "net").to_owned(), shown)
}

/// With the word until, where it is known.
fn until(block: &Value) -> String {
    match &block["until"] {
        Value::String(until) => format!("until {until}"),
        _ if has_no_end(block) => "no end".to_owned(),
        _ => "until being ordered".to_owned(),
    }
}

/// What is found in the kernel is not being ordered.
fn has_no_end(block: &Value) -> bool {
    block["until"].is_null() && block["by"] == "found"
}

fn since(block: &Value) -> &str {
    block["since"].as_str().unwrap_or("unknown")
}

/// A line for each block: who, until when, since when, packets dropped, why.
pub fn table(answer: &Value) -> String {
    let all = items(answer, "blocks");
    let names: Vec<String> = all.iter().map(name).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let mut out = String::new();
    for (block, name) in all.iter().zip(&names) {
        let packets = match block["dropped_packets"].as_u64() {
            Some(packets) => format!("{} dropped", many(packets, "packet")),
            None => "packets not counted".to_owned(),
        };
        let (until, since, why) = (until(block), since(block), text(block, "why"));
        let _ = writeln!(
            out,
            "{name:width$}  {until}  since {since}  {packets}  {why}"
        );
    }
    let dry = match text(answer, "mode") {
        "dry-run" => " (dry run: nothing is dropped)",
        _ => "",
    };
    let _ = writeln!(out, "{}{dry}", many(all.len(), "block"));
    out
}

/// All blocks for another program.
///
/// A script for nft has the time that each has left at `now_s`, by the wall clock.
pub fn export(answer: &Value, format: ListFormat, now_s: i64) -> String {
    let all = items(answer, "blocks");
    match format {
        ListFormat::Cidr => {
            let line = |block: &Value| {
                let (name, until, why) = (name(block), until(block), text(block, "why"));
                format!("{name} # {until}, {}\n", why.replace(['\n', '\r'], " "))
            };
            all.iter().map(line).collect()
        }
        ListFormat::Json => format!("{}\n", json!(all)),
        ListFormat::Nft => script(all, now_s),
    }
}

/// A script that makes a table of its own and drops the packets of these networks.
fn script(all: &[Value], now_s: i64) -> String {
    let mut out = String::from(
        "add table inet synledger_export\ndelete table inet synledger_export\nadd table inet synledger_export\n",
    );
    for (set, kind) in [("blocked4", "ipv4_addr"), ("blocked6", "ipv6_addr")] {
        // With auto-merge, neighbours would share one time.
        let _ = writeln!(
            out,
            "add set inet synledger_export {set} {{ type {kind}; flags interval, timeout; }}"
        );
    }
    for hook in ["input", "forward"] {
        let _ = writeln!(
            out,
            "add chain inet synledger_export {hook} {{ type filter hook {hook} priority -300; }}"
        );
        for (family, set) in [("ip", "blocked4"), ("ip6", "blocked6")] {
            let _ = writeln!(
                out,
                "add rule inet synledger_export {hook} {family} saddr @{set} drop"
            );
        }
    }
    let end_s = |block: &Value| match has_no_end(block) {
        true => Some(i64::MAX),
        false => seconds(text(block, "until")),
    };
    let with_end = |block: &Value| Some((net(block)?, Reverse(end_s(block))));
    let mut nets: Vec<_> = all.iter().filter_map(with_end).collect();
    // A network comes before those that it has in it.
    nets.sort_unstable();
    let mut last: Option<(IpNet, i64)> = None;
    for (net, Reverse(end_s)) in nets {
        let name = shown(net);
        // In a set without an end, it would stay for ever.
        let Some(end_s) = end_s else {
            let _ = writeln!(out, "# {name} is being ordered");
            continue;
        };
        // Intervals of a set share no address.
        if let Some((larger, larger_end_s)) = last.filter(|(larger, _)| larger.contains(&net)) {
            if end_s > larger_end_s {
                let larger = shown(larger);
                let _ = writeln!(out, "# {name} is in {larger}, and blocked for longer");
            }
            continue;
        }
        let left_s = end_s.saturating_sub(now_s);
        if left_s < 1 {
            continue;
        }
        last = Some((net, end_s));
        let set = match net {
            IpNet::V4(_) => "blocked4",
            IpNet::V6(_) => "blocked6",
        };
        let timeout = match end_s {
            i64::MAX => String::new(),
            _ => format!(" timeout {left_s}s"),
        };
        let _ = writeln!(
            out,
            "add element inet synledger_export {set} {{ {name}{timeout} }}"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::files::{Listed, parse};
    use super::*;

    /// 2021-04-28T15:28:05Z
    const NOW_S: i64 = 1_619_623_685;

    /// With 24 hours at most.
    fn read(text: &str) -> Result<Listed, Vec<String>> {
        parse(text, NOW_S, 86_400)
    }

    fn answer() -> Value {
        json!({
            "mode": "nft",
            "blocks": [
                {
                    "net": "192.0.2.9/32", "why": "by hand: noisy", "by": "hand",
                    "since": "2021-04-28T15:28:05Z", "until": "2021-04-28T16:28:05Z",
                    "dropped_packets": 3, "dropped_bytes": 180,
                },
                {
                    "net": "2001:db8::/64", "why": "import: drop", "by": "import",
                    "since": "2021-04-28T15:28:05Z", "until": null,
                },
            ],
        })
    }

    #[test]
    fn a_line_says_who_until_when_since_when_how_much_and_why() {
        let expected = "\
192.0.2.9      until 2021-04-28T16:28:05Z  since 2021-04-28T15:28:05Z  3 packets dropped  by hand: noisy
2001:db8::/64  until being ordered  since 2021-04-28T15:28:05Z  packets not counted  import: drop
2 blocks
";
        assert_eq!(table(&answer()), expected);
        let none = json!({ "mode": "dry-run", "blocks": [] });
        assert_eq!(table(&none), "0 blocks (dry run: nothing is dropped)\n");
    }

    #[test]
    fn what_is_exported_in_each_form_is_read_again() {
        for format in [ListFormat::Cidr, ListFormat::Json, ListFormat::Nft] {
            let read = read(&export(&answer(), format, NOW_S)).expect("our own form");
            let nets: Vec<&str> = read.nets.iter().map(|(_, net)| net.as_str()).collect();
            let (all, times_s) = match format {
                ListFormat::Cidr => (2, &[86_400, 86_400][..]),
                ListFormat::Json => (2, &[3_600, 86_400][..]),
                // What is being ordered has no end yet.
                ListFormat::Nft => (1, &[86_400][..]),
            };
            assert_eq!(nets, ["192.0.2.9/32", "2001:db8::/64"][..all], "{format}");
            assert_eq!(read.times_s, times_s, "{format}");
        }
        let lines = export(&answer(), ListFormat::Cidr, NOW_S);
        let first = lines.lines().next();
        let expected = "192.0.2.9 # until 2021-04-28T16:28:05Z, by hand: noisy";
        assert_eq!(first, Some(expected));
    }

    #[test]
    fn what_has_no_end_is_shown_and_exported_so() {
        let block = json!({ "net": "192.0.2.9/32", "by": "found", "until": null, "why": "x" });
        let answer = json!({ "blocks": [block] });
        let list = table(&answer);
        assert!(
            list.starts_with("192.0.2.9  no end  since unknown "),
            "{list}"
        );
        let lines = export(&answer, ListFormat::Cidr, NOW_S);
        assert_eq!(lines, "192.0.2.9 # no end, x\n");
        let script = export(&answer, ListFormat::Nft, NOW_S);
        let element = "add element inet synledger_export blocked4 { 192.0.2.9 }\n";
        assert!(script.ends_with(element), "{script}");
    }

    #[test]
    fn intervals_of_a_script_share_no_address_and_keep_their_own_times() {
        let block = |net: &str, until: &str| json!({ "net": net, "until": until });
        let day = "2021-04-29T15:28:05Z";
        let answer = json!({ "blocks": [
            block("192.0.2.9/32", day),
            block("192.0.2.0/24", "2021-04-28T15:28:15Z"),
            block("192.0.2.7/32", "2021-04-28T15:28:10Z"),
            block("192.0.3.0/24", day),
            block("192.0.3.0/24", "2021-04-28T15:28:15Z"),
            block("198.51.100.1/32", "2021-04-28T15:28:05Z"),
        ] });
        let script = export(&answer, ListFormat::Nft, NOW_S);
        let lines = script.lines();
        let is_about = |line: &&str| line.starts_with('#') || line.starts_with("add element");
        let about: Vec<&str> = lines.filter(is_about).collect();
        let expected = [
            "add element inet synledger_export blocked4 { 192.0.2.0/24 timeout 10s }",
            "# 192.0.2.9 is in 192.0.2.0/24, and blocked for longer",
            "add element inet synledger_export blocked4 { 192.0.3.0/24 timeout 86400s }",
        ];
        assert_eq!(about, expected);
    }
}
