//! A tap whose two halves are devices without a peer, fed by tcpreplay: whatever is sent there is outgoing.

use super::conversation::{Conversation, write};
use super::programs::{installed, text_of};
use super::sensor::{Ended, Sensor, of_type, record_values, records};
use super::traffic::flow;
use crate::common::netns::{alone, try_ip, without_ipv6};
use crate::common::{NANOS, read_logs};
use craft::{ACK, Capture, Flow, LinkType, RST, SYN, read_pcap};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// One device for each direction: the client's, then the server's.
const HALVES: [&str; 2] = ["half0", "half1"];
/// Whole conversations, and as many refused ones.
const COUNT: u16 = 20;
/// An answer waits this long for its SYN.
const EARLY: Duration = Duration::from_secs(1);
/// Records that are compared.
const KINDS: [&str; 2] = ["new_connection", "flow"];

/// A frame, and whether the client sent it.
type Sent = (bool, Vec<u8>);

/// Flows over IPv4 and IPv6 in turn.
fn ends(i: u16, port: u16) -> Flow {
    match i.is_multiple_of(2) {
        true => flow(7, 20_000 + i, 1, port),
        false => {
            let client = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7];
            Flow::v6(client, 20_000 + i, [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1], port)
        }
    }
}

/// The frames of each conversation in their order.
fn conversations() -> Vec<Vec<Sent>> {
    let mut all = Vec::new();
    for i in 0..COUNT {
        let one = Conversation::new(ends(i, 443));
        let client = one.up(SYN, 0, 0, b"")[6..12].to_vec();
        let whole = one.whole(&[100, u32::from(i)], &[200, 1000]).into_iter();
        all.push(whole.map(|it| (it[6..12] == client, it)).collect());
        let refused = Conversation::new(ends(i, 1000 + i));
        all.push(vec![
            (true, refused.up(SYN, 0, 0, b"")),
            (false, refused.down(RST | ACK, 0, 1, b"")),
        ]);
    }
    all
}

/// The next frame of each conversation in turn. `early` puts each answer right before its SYN.
fn interleaved(early: bool) -> Vec<Sent> {
    let all = conversations();
    let openings = all.iter().flat_map(|one| match early {
        true => [one[1].clone(), one[0].clone()],
        false => [one[0].clone(), one[1].clone()],
    });
    let longest = all.iter().map(Vec::len).max().expect("frames");
    let later = (2..longest).flat_map(|at| all.iter().filter_map(move |one| one.get(at).cloned()));
    openings.chain(later).collect()
}

/// Writes a capture of each direction, with the stamps that its frames have in the capture of both.
fn split(dir: &Path, frames: &[Sent]) -> [PathBuf; 2] {
    let bytes: Vec<_> = frames.iter().map(|(_, bytes)| bytes.clone()).collect();
    let whole = std::fs::read(write(dir, &bytes)).expect("it was just written");
    let whole = read_pcap("whole", &whole).expect("it is a capture");
    [true, false].map(|way| {
        let mut half = Capture::new("half", LinkType::Ethernet);
        let of_both = whole.frames.iter().zip(frames);
        half.frames = of_both
            .filter(|(_, (up, _))| *up == way)
            .map(|(frame, _)| frame.clone())
            .collect();
        let path = dir.join(HALVES[usize::from(!way)]);
        std::fs::write(&path, half.to_pcap(NANOS)).expect("a file");
        path
    })
}

/// Makes both devices. A kernel without the driver `dummy` may have `ifb`, which drops what is sent on it, too.
fn make_halves() -> Result<&'static str, String> {
    without_ipv6();
    let make = |kind: &str| {
        HALVES.iter().try_for_each(|half| {
            try_ip(&format!("link add {half} type {kind}"))?;
            try_ip(&format!("link set {half} up"))
        })
    };
    make("dummy").map(|()| "dummy").or_else(|dummy| {
        let ifb = make("ifb").map(|()| "ifb");
        ifb.map_err(|ifb| format!("no dummy device: {dummy}, no ifb: {ifb}"))
    })
}

/// Replays both directions by one process, which keeps the order of their stamps over both devices: two processes
/// would not. Returns how long it took.
fn replay_both(files: &[PathBuf; 2], frames: usize) -> Duration {
    let begin = Instant::now();
    let output = Command::new("tcpreplay")
        .args(["--dualfile", "--multiplier", "4"])
        .args(["-i", HALVES[0], "-I", HALVES[1]])
        .args(files)
        .output()
        .expect("tcpreplay starts");
    let took = begin.elapsed();
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    let sent = format!("Actual: {frames} packets ");
    assert!(text.contains(&sent), "{text}");
    took
}

/// What a capture of all frames in their right order says.
fn read(dir: &Path) -> Vec<Value> {
    let frames = interleaved(false).into_iter();
    let frames: Vec<_> = frames.map(|(_, bytes)| bytes).collect();
    let (_, eve, output) = read_logs(dir, &[], &[write(dir, &frames)]);
    assert!(output.status.success(), "{}", text_of(&output));
    records(&String::from_utf8_lossy(&eve))
}

fn is_as_in_one_place(live: &[Value], read: &[Value]) -> bool {
    let same = |kind| record_values(live, kind) == record_values(read, kind);
    KINDS.into_iter().all(same)
}

fn assert_as_in_one_place(ended: &Ended, read: &[Value], frames: usize) {
    ended.assert_exact();
    assert_eq!(ended.offered(), frames as u64, "{}", ended.stderr);
    for kind in KINDS {
        assert_eq!(record_values(&ended.eve, kind), record_values(read, kind));
        assert_eq!(of_type(read, kind).count(), 2 * usize::from(COUNT));
    }
    let count = u64::from(COUNT);
    assert_eq!(ended.outcomes(), [count; 3], "{}", ended.stderr);
    for flow in of_type(&ended.eve, "flow") {
        let ours = &flow["synledger"];
        let names = [&flow["in_iface"], &ours["in_iface_resp"]];
        assert_eq!(names, HALVES, "{flow}");
        // Addresses alone say the direction: outgoing frames of other hosts are no connections of this host.
        assert_eq!(ours["direction"], "transit", "{flow}");
    }
}

fn tapped(early: bool, workers: &'static str) {
    if !installed("tcpreplay") {
        return;
    }
    alone(move || {
        let kind = match make_halves() {
            Ok(kind) => kind,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let dir = tempfile::tempdir().expect("a folder");
        let read = read(dir.path());
        let frames = interleaved(early);
        let files = split(dir.path(), &frames);
        for _ in 0..3 {
            let sensor = Sensor::start_on(&HALVES, workers);
            let took = replay_both(&files, frames.len());
            let ended = sensor.stop(Signal::SIGINT);
            if early && took >= EARLY && !is_as_in_one_place(&ended.eve, &read) {
                continue; // A machine this busy may have sent a SYN too late for its answer.
            }
            assert_as_in_one_place(&ended, &read, frames.len());
            return eprintln!(
                "tap of two {kind} devices: {} frames, {took:?}",
                frames.len()
            );
        }
        eprintln!("skipped: in 3 replays of {EARLY:?} or longer an answer came too early");
    });
}

#[test]
fn a_tap_pair_fed_by_tcpreplay_gives_what_a_capture_in_one_place_gives() {
    tapped(false, "1");
    tapped(false, "2");
}

#[test]
fn a_tap_pair_that_gives_each_answer_before_its_syn_gives_the_same() {
    tapped(true, "1");
    tapped(true, "2");
}
