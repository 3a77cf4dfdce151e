//! Counts the instructions of a frame, a record or a contact with valgrind. Unlike time, the counts are the same on a
//! busy machine, so an increase of a few percent is detected.
//!
//! `check` compares with `benches/instructions.csv` and fails if a workload takes over 3 % more, or less than half;
//! `record` rewrites that file; `test` checks that two counts agree and that `check` would fail.
//! `work NAME COUNT` runs a workload, for valgrind. Each workload is counted at two sizes: their difference has neither
//! the set-up nor the making of the frames, which are as many at both sizes.

#[path = "loads/ended.rs"]
mod ended;
#[path = "loads/mod.rs"]
mod loads;
#[path = "loads/pipeline.rs"]
mod pipeline;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use ended::ended;
use loads::traffic::{client, client_ipv6, event, tcp};
use loads::{Load, flood, mixed, shard};
use synledger::capture::bpf::fanout::{self, Keys};
use synledger::capture::frame::{Class, Frame};
use synledger::decode::Headers;
use synledger::flow::Limits;
use synledger::flow::key::Hasher;
use synledger::inspect::contact::{Contact, ContactKind, Mark};
use synledger::inspect::detector::Owned;
use synledger::inspect::setting::Setting;
use synledger::inspect::{Detectors, Flags, Rules};
use synledger::log::event::Event;
use synledger::log::fold::{FOLDS_MAX, Folds};
use synledger::log::formats::context::Context;
use synledger::log::formats::interfaces::Interfaces;
use synledger::log::formats::text::TextFormat;
use synledger::log::merge::Merge;
use synledger::log::outputs::Outputs;
use synledger::log::reached::LogTime;
use synledger::log::sinks::spec::OutputSpec;
use synledger::shard::contacts::Mesh;
use synledger::shard::{At, Shard};
use synledger::time::durations::HORIZON_NS;
use synledger::time::timeline::{Timeline, position_of_ts};

const SMALL: usize = 11_000;
const LARGE: usize = 33_000;
/// Frames of one connection in [`mixed`].
const STEPS: usize = 11;
const CONNECTIONS: usize = 1_000;
const BLOCK: usize = 512;
const GROWTH_MAX: f64 = 0.03;
/// A workload that takes less than half fails, too: it may do nothing any more.
const FALL_MAX: f64 = 0.5;
const DIFFERENCE_MAX: f64 = 0.001;
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.csv");
const FLOOD: &str = "shard SYN flood";
const FLOOD_WITHOUT: &str = "shard SYN flood (no detector)";
/// Most instructions of all detectors together for a new attempt.
const DETECTORS_MAX: f64 = 200.0;
const REMEDY: &str = "make it cheaper, or run `make bench-record` in the same commit";
const LIMITS: Limits = Limits {
    attempts: 1 << 16,
    established: 1 << 13,
    others: 1 << 13,
    fragments: 64,
    parts: false,
};
/// Memory of the detectors, as of a worker with half a GiB.
const DETECTOR_BYTES: u64 = 128 << 20;

/// The rules by default, but that nobody here is a scanner.
fn rules() -> Rules {
    let mut flags = Flags::default();
    flags.port_scan.scan_ports = 15;
    Rules::divide(DETECTOR_BYTES, &flags)
}

type Work = fn(usize);

const WORKLOADS: [(&str, Work); 16] = [
    ("decode SYN", |count| decode_frames(&flood(all()), count)),
    ("decode mixed", |count| decode_frames(&mixed_load(), count)),
    ("demux SYN", |count| demux_frames(&flood(all()), count)),
    ("demux mixed", |count| demux_frames(&mixed_load(), count)),
    (FLOOD, |count| {
        feed_shard(&flood(all()), rules(), (0, count))
    }),
    (FLOOD_WITHOUT, |count| {
        feed_shard(&flood(all()), Rules::OFF, (0, count));
    }),
    ("shard SYN flood (steady)", feed_steady),
    ("shard established", |count| {
        feed_shard(&established(client), rules(), (3 * CONNECTIONS, count));
    }),
    ("shard established (IPv6)", |count| {
        feed_shard(&established(client_ipv6), rules(), (3 * CONNECTIONS, count));
    }),
    ("shard mixed", |count| {
        feed_shard(&mixed_load(), rules(), (0, count))
    }),
    ("contacts", contacts),
    ("logger text", |count| {
        write_events("text:/dev/null", event, count)
    }),
    ("logger EVE", |count| {
        write_events("eve:/dev/null", event, count)
    }),
    ("logger EVE flow", |count| {
        write_events("eve:/dev/null", ended, count)
    }),
    ("logger Zeek", write_zeek),
    ("log pipeline", |count| {
        pipeline::run(outputs("text:/dev/null"), count);
    }),
];

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("small")
}

fn all() -> u32 {
    number(LARGE)
}

fn mixed_load() -> Load {
    mixed(number(LARGE / STEPS))
}

/// Handshakes of connections, then their data.
fn established(client: fn(u32) -> craft::Flow) -> Load {
    use craft::{ACK, PSH, SYN};
    let mut load = Load::default();
    let clients = || (0..number(CONNECTIONS)).map(client);
    clients().for_each(|flow| load.push(&tcp(flow, SYN, (1, 0), 0)));
    clients().for_each(|flow| load.push(&tcp(flow.reversed(), SYN | ACK, (5, 2), 0)));
    clients().for_each(|flow| load.push(&tcp(flow, ACK, (2, 6), 0)));
    for at in 0..all() {
        let flow = client(at % number(CONNECTIONS));
        let seq = 2 + at / number(CONNECTIONS) * 100;
        load.push(&tcp(flow, PSH | ACK, (seq, 6), 100));
    }
    load
}

fn decode_frames(load: &Load, count: usize) {
    let frames = load.frames();
    let mut headers = Headers::default();
    let sound = frames[..count].iter().filter(|frame| {
        let headers = black_box(&mut headers);
        headers.read_lean(frame) || headers.read_lean_ipv6(frame) || headers.read_plain(frame)
    });
    assert_eq!(sound.count(), count);
}

fn demux_frames(load: &Load, count: usize) {
    let (keys, frames) = (Keys::from_seed(1), load.frames());
    let place = |frame: &Frame<'_>| {
        let place = fanout::demux(&keys, frame);
        u64::from(place.hash) + u64::from(place.class == Class::Open)
    };
    assert!(frames[..count].iter().map(place).sum::<u64>() > 0);
}

/// Feeds the first `first + count` frames; only `count` differs between the two sizes.
fn feed_shard(load: &Load, rules: Rules, (first, count): (usize, usize)) {
    feed(shard(LIMITS, rules, None), &load.frames()[..first + count]);
}

/// A flood whose attempts are folded, and leave as fast as they come.
fn feed_steady(count: usize) {
    const GAP_NS: i64 = 4_000_000;
    let held = usize::try_from(HORIZON_NS / GAP_NS).expect("small");
    let folds = Folds::with_room(FOLDS_MAX, 1, [1, 2]);
    let load = flood(number(held + LARGE));
    let frames = load.frames_every(GAP_NS);
    feed(shard(LIMITS, rules(), Some(folds)), &frames[..held + count]);
}

fn feed((mut shard, mut merge): (Shard, Merge), frames: &[Frame<'_>]) {
    for block in frames.chunks(BLOCK) {
        let mut newest_ns = 0;
        for frame in block {
            newest_ns = frame.ts_ns;
            let at = At {
                position: position_of_ts(newest_ns),
                watermark_ns: newest_ns,
                timeline: Timeline::Live,
                ring: None,
            };
            shard.on_frame(frame, &at);
        }
        let position = position_of_ts(newest_ns);
        shard.publish_contacts(position, &Timeline::Live);
        shard.settle(position, newest_ns, &Timeline::Live);
        while merge.step(4096, |_| {}, |_| ()) > 0 {}
    }
    let flow = &shard.counts.flow;
    for (name, left, right) in flow.identities() {
        assert_eq!(left, right, "{name}");
    }
    assert_eq!(flow.flow_packets, frames.len() as u64);
}

const OWNED: Owned = Owned {
    source: true,
    target: true,
};

fn contacts(count: usize) {
    let mut mesh = Mesh::new(2);
    let (mut detectors, mut taken) = (Detectors::new(rules(), Hasher::new([1, 2]), 0), Vec::new());
    let touch = |at: u32| {
        let ts_ns = i64::from(at) * 67;
        Contact {
            position: position_of_ts(ts_ns),
            ts_ns,
            source: u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            src: at.into(),
            dst: 0x7f00_0001,
            port: 80,
            interface: 0,
            mark: Mark::new(false, 0, ContactKind::Touch),
        }
    };
    let every: Vec<Contact> = (0..all()).map(touch).collect();
    for block in every[..count].chunks(BLOCK) {
        assert!(block.iter().all(|contact| mesh[1].send(0, *contact)));
        let position = block[block.len() - 1].position;
        mesh.iter().for_each(|end| end.publish(position));
        loop {
            taken.clear();
            mesh[0].take(position, 32, &mut taken);
            if taken.is_empty() {
                break;
            }
            for contact in &taken {
                let setting = Setting::default();
                detectors.on_contact(contact, OWNED, setting, contact.ts_ns, &mut |_| ());
            }
        }
    }
    assert_eq!(detectors.counts().sources.held_back, count as u64);
}

fn write_zeek(count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = format!("zeek:{}", folder.path().display());
    write_events(&spec, ended, count);
}

fn outputs(spec: &str) -> Outputs {
    let context = Context {
        host: "bench".into(),
        interfaces: Interfaces::new(vec!["eth0".into()]),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: false,
    };
    let spec = OutputSpec {
        text_format: Some(TextFormat::Short),
        ..spec.parse().expect("a spec")
    };
    Outputs::open(&[spec], &context).expect("outputs")
}

fn write_events(spec: &str, event: fn(u32) -> Event, count: usize) {
    let events: Vec<_> = (0..all()).map(event).collect();
    let mut outputs = outputs(spec);
    events[..count]
        .iter()
        .for_each(|one| outputs.write(one, LogTime::packet(one.step.due_ns()), 0));
    outputs.finish(0);
    let written: u64 = outputs.counts()[0].written.iter().sum();
    assert_eq!(written, count as u64);
}

/// Instructions of the whole process that runs `count` items of a workload.
fn count_instructions(name: &str, count: usize) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--branch-sim=no"])
        .arg("--cachegrind-out-file=/dev/null")
        .arg(own)
        .args(["work", name, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refs = stderr.lines().find_map(|line| line.split("refs:").nth(1));
    let digits = refs.map(|refs| refs.replace([',', ' '], ""));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(refs) if output.status.success() => Ok(refs),
        _ => Err(format!("{name}: {}: {stderr}", output.status)),
    }
}

/// Instructions for one item of a workload.
fn instructions_each(name: &str) -> Result<f64, String> {
    let (small, large) = (
        count_instructions(name, SMALL)?,
        count_instructions(name, LARGE)?,
    );
    Ok(large.saturating_sub(small) as f64 / (LARGE - SMALL) as f64)
}

/// Compiler and architecture: the counts depend on them, besides the source.
fn toolchain() -> String {
    let version = Command::new("rustc")
        .arg("-V")
        .output()
        .map(|output| output.stdout);
    let version = version.unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    format!("{} {}", version.trim(), std::env::consts::ARCH)
}

/// Toolchain of the record, and its instructions of each workload.
fn recorded() -> Result<(String, BTreeMap<String, f64>), String> {
    let text = std::fs::read_to_string(RECORD).map_err(|error| format!("{RECORD}: {error}"))?;
    let mut lines = text.lines();
    let by = lines.next().and_then(|line| line.strip_prefix("# rustc "));
    let by = by.ok_or(format!("{RECORD}: the first line names no rustc: {REMEDY}"))?;
    let row = |line: &str| {
        let (name, each) = line.split_once(',')?;
        let each: f64 = each.parse().ok()?;
        (each.is_finite() && each > 0.0).then(|| (name.to_owned(), each))
    };
    let mut rows = BTreeMap::new();
    for line in lines.skip(1) {
        let (name, each) = row(line).ok_or(format!("{RECORD}: {line}: {REMEDY}"))?;
        if rows.insert(name, each).is_some() {
            return Err(format!("{RECORD}: {line}: this workload has two lines"));
        }
    }
    Ok((format!("rustc {by}"), rows))
}

/// Whether a count is within the limits of its record, and a line that reports it.
fn verdict(name: &str, now: f64, then: f64) -> (bool, String) {
    let growth = now / then - 1.0;
    let failure = if growth > GROWTH_MAX {
        ": MORE THAN IT MAY"
    } else if growth < -FALL_MAX {
        ": LESS THAN HALF: does it still do its work?"
    } else {
        ""
    };
    let line = format!(
        "{name}: {now:.2} instructions, recorded {then:.2} ({:+.2} %){failure}",
        growth * 100.0
    );
    (failure.is_empty(), line)
}

fn check() -> Result<(), String> {
    let (by, then) = recorded()?;
    if by != toolchain() {
        eprintln!(
            "skipped: instruction counts: recorded with {by}, this is {}",
            toolchain()
        );
        return Ok(());
    }
    let mut failed = Vec::new();
    let mut counted = BTreeMap::new();
    for (name, _) in WORKLOADS {
        let then = then
            .get(name)
            .ok_or(format!("{RECORD}: no {name}: {REMEDY}"))?;
        let now = instructions_each(name)?;
        counted.insert(name, now);
        let (passes, line) = verdict(name, now, *then);
        eprintln!("{line}");
        if !passes {
            failed.push(name);
        }
    }
    let detectors = counted[FLOOD] - counted[FLOOD_WITHOUT];
    eprintln!(
        "all detectors: {detectors:.2} instructions for a SYN of a flood, of {DETECTORS_MAX} at most"
    );
    if !failed.is_empty() {
        return Err(format!(
            "{} took more than 3 % more, or less than half: {REMEDY}",
            failed.join(", ")
        ));
    }
    if detectors > DETECTORS_MAX {
        return Err(format!(
            "all detectors take more than {DETECTORS_MAX} instructions"
        ));
    }
    Ok(())
}

fn record() -> Result<(), String> {
    let mut text = format!("# {}\nworkload,instructions\n", toolchain());
    for (name, _) in WORKLOADS {
        let each = instructions_each(name)?;
        eprintln!("{name}: {each:.2} instructions");
        text += &format!("{name},{each:.2}\n");
    }
    std::fs::write(RECORD, text).map_err(|error| format!("{RECORD}: {error}"))
}

/// Tests this guard: two counts agree, and `verdict` fails where it must.
fn test() -> Result<(), String> {
    for (name, _) in WORKLOADS {
        let (first, second) = (instructions_each(name)?, instructions_each(name)?);
        let difference = (first / second - 1.0).abs();
        if difference > DIFFERENCE_MAX {
            return Err(format!(
                "{name}: two counts, {first} and {second}, differ by {:.3} %",
                difference * 100.0
            ));
        }
        let (passes, line) = verdict(name, second, first);
        if !passes {
            return Err(format!("{name}: an equal count fails: {line}"));
        }
        // Expected failures are not printed: tools/run-tests searches the log for failures.
        if verdict(name, second, first * 0.95).0 {
            return Err(format!("{name}: 5 % more does not fail"));
        }
        if verdict(name, second, first * 2.1).0 {
            return Err(format!("{name}: less than half does not fail"));
        }
        eprintln!("{line}; 5 % more and less than half would fail");
    }
    eprintln!("instructions: {} workloads, counted twice", WORKLOADS.len());
    Ok(())
}

fn work(name: &str, count: &str) -> Result<(), String> {
    let count = count.parse().map_err(|error| format!("{count}: {error}"))?;
    let found = WORKLOADS.iter().find(|(known, _)| *known == name);
    let (_, work) = found.ok_or(format!("no workload {name}"))?;
    if count > LARGE {
        return Err(format!("{count}: at most {LARGE}"));
    }
    work(count);
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let has_valgrind = || Command::new("valgrind").arg("--version").output().is_ok();
    let done = match words[..] {
        ["work", name, count] => work(name, count),
        ["check" | "record" | "test"] if !has_valgrind() => {
            eprintln!("skipped: instruction counts: valgrind is not installed");
            Ok(())
        }
        ["check"] => check(),
        ["record"] => record(),
        ["test"] => test(),
        _ => {
            eprintln!("instructions: make bench-check counts them");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}
