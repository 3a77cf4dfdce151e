//! Answers where no sensor does: from what an earlier one left in the kernel.

use crate::commands::say;
use crate::error::Failure;
use crate::log::block_record::shown;
use crate::observe::status::{VERSION, stamp, wish};
use crate::respond::block::desk::Wish;
use crate::respond::block::helper::LeftElement;
use crate::respond::block::left::{Found, find};
use crate::respond::block::orders::says;
use crate::time::clock::wall_clock_ns;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// The helper of a sensor that was killed has so long to end.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);
const SECOND_NS: i64 = 1_000_000_000;

/// The answer that a sensor would give to a request; `no_sensor`: why none does. It has `incomplete` where a part could
/// not be read, which has been said, and `by`: the ways to block by which somebody was let in.
///
/// # Errors
///
/// Nothing was left, this process may not read it, or somebody else has it.
pub fn answer(no_sensor: &str, request: &Value) -> Result<Value, Failure> {
    let wish = wish(request.to_string().as_bytes()).map_err(Failure::Run)?;
    if matches!(wish, Wish::Add { .. }) {
        return Err(Failure::Run(format!(
            "{no_sensor}. Only a running sensor adds blocks: its guard follows this host's addresses, gateways and SSH \
             sessions, and lets in again who becomes one"
        )));
    }
    let (found, troubles) = find().map_err(|needs| {
        Failure::Run(format!(
            "{no_sensor}. What an earlier sensor left in the kernel can be read and removed with {needs}"
        ))
    })?;
    if found.is_empty() && troubles.is_empty() {
        let none = format!("{no_sensor}. No earlier sensor left blocks in the kernel, either");
        return Err(Failure::Run(none));
    }
    troubles.iter().for_each(say);
    let is_incomplete = !troubles.is_empty();
    let mut answer = match wish {
        Wish::List => list(no_sensor, found)?,
        _ if found.is_empty() => {
            let none = "No earlier sensor left blocks where the kernel could be read, either";
            return Err(Failure::Run(format!("{no_sensor}. {none}")));
        }
        Wish::Remove(net) => remove(split(found)?, net, is_incomplete)?,
        _ => flush(split(found)?),
    };
    answer["synledger"] = json!(VERSION);
    answer["ok"] = json!(true);
    answer["incomplete"] = json!(is_incomplete);
    Ok(answer)
}

fn failed(one: &Found, error: &io::Error) -> Failure {
    Failure::Run(format!("{}: {error}", one.method.word))
}

fn refusal(one: &Found, net: &str, why: &str) -> Value {
    json!({ "net": net, "reason": format!("{}: {why}", one.method.word) })
}

fn list(no_sensor: &str, found: Vec<Found>) -> Result<Value, Failure> {
    let says = match found.is_empty() {
        true => "No block was found where the kernel could be read",
        false => "These blocks are in the kernel without it",
    };
    say(&format!("{no_sensor}. {says}"));
    let now_ns = wall_clock_ns();
    let mut rows = Vec::new();
    for mut one in found {
        let owner = one.left.owner().map_err(|error| failed(&one, &error))?;
        let elements = one.left.list().map_err(|error| failed(&one, &error))?;
        let word = one.method.word;
        let row = |element| row((element, owner.as_deref(), word), now_ns);
        rows.extend(elements.into_iter().map(|one| (one.net, row(one))));
    }
    rows.sort_by_key(|(net, _)| *net);
    let rows = rows.into_iter().map(|(_, row)| row);
    Ok(json!({ "mode": null, "sensor": null, "blocks": rows.collect::<Vec<_>>() }))
}

fn row((element, owner, word): (LeftElement, Option<&str>, &str), now_ns: i64) -> Value {
    let why = match (element.left_s, owner) {
        (None, _) => format!("unknown: without an end, so not by a sensor ({word})"),
        (_, None) => format!("unknown: left by an earlier sensor ({word})"),
        (_, Some(owner)) => format!("unknown: {owner} knows it ({word})"),
    };
    let until = element.left_s.map(|left_s| {
        let left_ns = i64::try_from(left_s).map_or(i64::MAX, |s| s.saturating_mul(SECOND_NS));
        stamp(now_ns.saturating_add(left_ns))
    });
    let mut row = json!({
        "net": element.net.to_string(),
        "why": why,
        "by": "found",
        "since": null,
        "until": until,
        "mode": word,
    });
    if let Some((packets, bytes)) = element.dropped {
        row["dropped_packets"] = json!(packets);
        row["dropped_bytes"] = json!(bytes);
    }
    row
}

/// What is left, and what a process has that is alive, with a sentence about it.
struct Split {
    free: Vec<Found>,
    held: Vec<(Found, String)>,
}

/// The error: a process has all of it.
fn split(found: Vec<Found>) -> Result<Split, Failure> {
    let (mut free, mut held) = (Vec::new(), Vec::new());
    for mut one in found {
        let mut owner = None;
        for _ in 0..TRIES {
            owner = one.left.owner().map_err(|error| failed(&one, &error))?;
            if owner.is_none() {
                break;
            }
            sleep(PAUSE);
        }
        match owner {
            None => free.push(one),
            Some(owner) => held.push((
                one,
                format!("{owner} has these blocks and is alive: ask its sensor, whose socket --socket names"),
            )),
        }
    }
    match (free.is_empty(), held.first()) {
        (true, Some((one, why))) => Err(Failure::Run(format!(
            "{}: {why}; nothing was changed",
            one.method.word
        ))),
        _ => Ok(Split { free, held }),
    }
}

fn remove(split: Split, net: IpNet, is_incomplete: bool) -> Result<Value, Failure> {
    let (mut by, mut refused, mut larger) = (Vec::new(), Vec::new(), None);
    let name = net.to_string();
    let free = split.free.into_iter().map(|one| (one, None));
    let held = split.held.into_iter().map(|(one, why)| (one, Some(why)));
    for (mut one, held) in free.chain(held) {
        let all = one.left.list().map_err(|error| failed(&one, &error))?;
        if !all.iter().any(|element| element.net == net) {
            let covers = all.iter().find(|element| element.net.contains(&net));
            larger = larger.or(covers.map(|element| element.net));
            continue;
        }
        if let Some(why) = held {
            refused.push(refusal(&one, &name, &why));
            continue;
        }
        for result in one.left.let_in(&[net]) {
            match result {
                Ok(()) => by.push(one.method.word),
                Err(why) => refused.push(refusal(&one, &name, &says(why))),
            }
        }
    }
    if !by.is_empty() || !refused.is_empty() {
        return Ok(json!({ "carried_out": by.len(), "refused": refused, "by": by }));
    }
    let place = match is_incomplete {
        true => ", where the kernel could be read",
        false => "",
    };
    Err(Failure::Run(match larger {
        Some(larger) => format!(
            "{} is not blocked by itself: {larger} is{place}",
            shown(net)
        ),
        None => format!("{} is not blocked{place}", shown(net)),
    }))
}

fn flush(split: Split) -> Value {
    let (mut by, mut refused) = (Vec::new(), Vec::new());
    for mut one in split.free {
        match one.left.remove() {
            Ok(()) => by.push(one.method.word),
            Err(why) => refused.push(refusal(&one, "all", &why)),
        }
    }
    for (one, why) in split.held {
        refused.push(refusal(&one, "all", &why));
    }
    json!({ "carried_out": by.len(), "refused": refused, "by": by })
}
