//! Times each stage of a frame's path: decode, fanout hash, a whole shard, the logger's outputs.
//!
//! A figure is the median of five runs, with least and greatest, in CPU time of its thread. Each run asserts its result.
//! Words on the command line choose the figures whose names contain one of them.

#[path = "../loads/figure.rs"]
mod figure;
mod floor;
mod held;
mod loads;
#[path = "../loads/traffic.rs"]
mod traffic;

use std::net::Ipv4Addr;

use figure::{context, cpu_ns, figure, print_machine};
use loads::Load;
use synledger::capture::bpf::fanout::{self, Keys};
use synledger::capture::frame::{Class, Frame};
use synledger::decode::Headers;
use synledger::flow::record::Attempt;
use synledger::log::event::{Body, Event};
use synledger::log::fold::{FOLDS_MAX, Folds};
use synledger::log::formats::text::TextFormat;
use synledger::log::outputs::Outputs;
use synledger::log::reached::LogTime;
use synledger::log::sinks::spec::OutputSpec;
use traffic::event;

const CONNECTIONS: u32 = 40_000;
const FLOOD: u32 = 400_000;
const RECORDS: u32 = 400_000;

fn time_decode(what: &str, frames: &[Frame<'_>], segments: usize) {
    figure(&format!("decode, {what}"), frames.len(), || {
        let begin = cpu_ns();
        let (mut found, mut headers) = (0, Headers::default());
        for frame in frames {
            let headers = std::hint::black_box(&mut headers);
            assert!(headers.read_lean(frame) || headers.read_plain(frame));
            found += usize::from(headers.is_segment());
        }
        let took = cpu_ns() - begin;
        assert_eq!(found, segments);
        took
    });
}

fn time_demux(what: &str, frames: &[Frame<'_>], opens: usize) {
    let keys = Keys::from_seed(1);
    figure(&format!("fanout::demux, {what}"), frames.len(), || {
        let begin = cpu_ns();
        let (mut found, mut sum) = (0, 0_u64);
        for frame in frames {
            let demux = fanout::demux(&keys, frame);
            found += usize::from(demux.class == Class::Open);
            sum += u64::from(demux.hash);
        }
        let took = cpu_ns() - begin;
        assert!(sum > 0);
        assert_eq!(found, opens);
        took
    });
}

/// Formats records and writes them to /dev/null.
fn time_outputs(what: &str, specs: &[&str]) {
    let specs: Vec<_> = specs
        .iter()
        .map(|spec| OutputSpec {
            text_format: Some(TextFormat::Short),
            ..spec.parse().expect("a spec")
        })
        .collect();
    let events: Vec<Event> = (0..RECORDS).map(event).collect();
    let context = context();
    figure(&format!("logger, {what}"), events.len(), || {
        let mut outputs = Outputs::open(&specs, &context).expect("outputs");
        let begin = cpu_ns();
        for event in &events {
            outputs.write(event, LogTime::packet(event.step.due_ns()), 0);
        }
        outputs.finish(0);
        let took = cpu_ns() - begin;
        for counts in outputs.counts() {
            let all = [counts.offered[0], counts.written[0]];
            assert_eq!(all, [u64::from(RECORDS); 2]);
        }
        took
    });
}

/// Folds attempts, with destinations given by `target`.
fn time_folds(what: &str, target: fn(u32) -> (u32, u16)) {
    let attempts: Vec<Attempt> = (0..RECORDS)
        .map(|number| {
            let Body::NewConnection(mut attempt) = event(number).body else {
                unreachable!("`event` makes new connections")
            };
            let (dst, port) = target(number);
            attempt.tuple.dst = Ipv4Addr::from_bits(dst).into();
            attempt.tuple.dst_port = port;
            attempt
        })
        .collect();
    figure(&format!("folds, {what}"), attempts.len(), || {
        let mut folds = Folds::with_room(FOLDS_MAX, 1000, [1, 2]);
        folds.prefault();
        folds.fold_all(true);
        let begin = cpu_ns();
        let taken = attempts.iter().filter(|one| folds.takes(**one)).count();
        let took = cpu_ns() - begin;
        let folded: u64 = folds.close_all().iter().map(|fold| fold.count).sum();
        assert_eq!((taken, u64::from(RECORDS)), (attempts.len(), folded));
        took
    });
}

/// Merges each flood record from two parts and writes it.
fn time_records(what: &str, spec: &str) {
    const EACH: u32 = 64;
    let mut folds = Folds::with_room(FOLDS_MAX, 1, [1, 2]);
    folds.fold_all(true);
    let mut parts = Vec::new();
    for number in 0..RECORDS {
        let Body::NewConnection(mut attempt) = event(number).body else {
            unreachable!("`event` makes new connections")
        };
        attempt.ts_ns = i64::from(number / EACH) * 1_000_000_000;
        parts.extend(folds.close_before(attempt.ts_ns));
        folds.takes(attempt);
    }
    parts.extend(folds.close_all());
    let specs = [spec.parse().expect("a spec")];
    let context = context();
    figure(&format!("flood records, {what}"), parts.len(), || {
        let mut outputs = Outputs::open(&specs, &context).expect("outputs");
        let begin = cpu_ns();
        for part in &parts {
            let mut fold = Box::new(part.clone());
            fold.merge(part);
            outputs.hold_folded(fold.count);
            outputs.write_fold(fold, 0, LogTime::packet(0), 0);
        }
        outputs.finish(0);
        let took = cpu_ns() - begin;
        assert_eq!(outputs.counts()[0].folded[0], 2 * u64::from(RECORDS));
        took
    });
}

fn main() {
    print_machine();
    floor::time_all();
    held::time_all();
    let (mut mixed, mut flood) = (Load::default(), Load::default());
    traffic::mixed(CONNECTIONS, |ip| mixed.push_ip(ip));
    traffic::flood(FLOOD, |ip| flood.push_ip(ip));
    let (mixed, flood) = (mixed.frames(), flood.frames());
    let connections = CONNECTIONS as usize;
    time_decode("mixed", &mixed, 9 * connections);
    time_decode("spoofed SYN", &flood, flood.len());
    time_demux("mixed", &mixed, connections);
    time_demux("spoofed SYN", &flood, flood.len());
    time_outputs("text", &["text:/dev/null"]);
    time_outputs("EVE", &["eve:/dev/null"]);
    time_outputs("text and EVE", &["text:/dev/null", "eve:/dev/null"]);
    time_folds("one port", |_| (1, 80));
    time_folds("a port each", |number| (1, (number & 0xffff) as u16));
    time_folds("an address each", |number| (number, 80));
    time_records("text", "text:/dev/null");
    time_records("EVE", "eve:/dev/null");
}
