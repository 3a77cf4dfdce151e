//! Slow scans: hours of packet time in few frames.

use super::{BORDERS, Reply, flow, phased, scene, syn, to_host};
use crate::capture::Capture;
use crate::rng::Rng;
use crate::scenario::scene::{SECOND, Scene};
use crate::transport::{ACK, Flow, RST};

/// N of `slow_scan`.
const FAILED: i64 = 10;
/// Its window.
const SLOW: i64 = 8 * 3600 * SECOND;
/// The first failure is to be so much older than the last touch.
const SPAN: i64 = 60 * SECOND;
/// Without an answer for so long, a touch has failed.
const UNANSWERED: i64 = 5 * SECOND;
/// So many (host, port) of a source are kept.
const KEPT: i64 = 12;

const FAILURES: [Reply; 3] = [Reply::Silence, Reply::Reset, Reply::Unreachable];

/// A source that touches items, each another port of another host or of the same.
struct Source {
    scene: Scene,
    ends: Flow,
    /// Items are hosts rather than ports.
    hosts: bool,
}

impl Source {
    fn new(name: &str, rng: &mut Rng) -> Self {
        let v6 = rng.one_in(2);
        Self {
            scene: scene(name, rng),
            ends: flow(rng, v6),
            hosts: rng.one_in(2),
        }
    }

    fn item(&self, n: i64) -> Flow {
        let n = u16::try_from(n).expect("few");
        match self.hosts {
            true => to_host(self.ends, n),
            false => self.ends.to_port(1000 + n),
        }
    }

    /// Touches item `n`, `ns` after the start.
    fn touch(&mut self, n: i64, ns: i64, reply: Reply, rng: &mut Rng) {
        let flow = self.item(n);
        syn(self.scene.at(ns), flow, reply, rng);
    }

    /// Touches items that fail, one every `gap` from the start on.
    fn fail(&mut self, items: std::ops::Range<i64>, gap: i64, rng: &mut Rng) {
        for n in items {
            let reply = FAILURES[rng.index(FAILURES.len())];
            self.touch(n, n * gap, reply, rng);
        }
    }

    fn finish(self, rng: &mut Rng) -> Capture {
        phased(self.scene, rng)
    }
}

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for count in FAILED - 1..=KEPT + 1 {
        out.push(counted(count, rng));
    }
    for (word, off) in BORDERS {
        out.push(window(word, off, rng));
        out.push(span(word, off, rng));
        out.push(unanswered(word, off, rng));
        out.push(rearmed(word, off, rng));
        out.push(answered_around(word, off, rng));
    }
    for reply in [
        Reply::Silence,
        Reply::Reset,
        Reply::Unreachable,
        Reply::HalfOpen,
        Reply::Open,
    ] {
        out.push(all_alike(reply, rng));
    }
    out.push(answered_among(rng));
    out.push(answered_late(rng));
    out.push(refused_late(rng));
    out.push(answered_then_refused(rng));
    out.push(pushed_out(rng));
    out.push(kept_touching(rng));
    out.push(condition_lost(rng));
    out.extend([false, true].map(|answered| comes_back(answered, rng)));
    out
}

/// `count` items fail, half an hour apart; another touch decides.
fn counted(count: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-failed-{count}"), rng);
    source.fail(0..count, 1800 * SECOND, rng);
    source.touch(count, count * 1800 * SECOND, Reply::Open, rng);
    source.finish(rng)
}

/// N items fail, the first at the window's end.
fn window(word: &str, off: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-window-{word}"), rng);
    source.fail(0..FAILED, 2900 * SECOND, rng);
    source.touch(FAILED, SLOW + off, Reply::Silence, rng);
    source.finish(rng)
}

/// N items fail within 30 s; the touch that decides comes 60 s after the first.
fn span(word: &str, off: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-span-{word}"), rng);
    source.fail(0..FAILED, 3 * SECOND, rng);
    source.touch(FAILED, SPAN + off, Reply::Reset, rng);
    source.finish(rng)
}

/// The last of N items has waited 5 s for an answer when a touch decides.
fn unanswered(word: &str, off: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-unanswered-{word}"), rng);
    source.fail(0..FAILED - 1, 600 * SECOND, rng);
    let last = 2 * 3600 * SECOND;
    source.touch(FAILED, last, Reply::Silence, rng);
    source.touch(KEPT, last + UNANSWERED + off, Reply::Open, rng);
    source.finish(rng)
}

/// A scan holds at one touch, for which the tenth newest failure is that at 0. Two windows behind that one another scan
/// is decided.
fn rearmed(word: &str, off: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-rearm-{word}"), rng);
    let gap = 100 * SECOND;
    source.fail(0..FAILED, gap, rng);
    source.touch(FAILED, FAILED * gap, Reply::Open, rng);
    let last = 2 * SLOW + off;
    for n in 0..FAILED {
        source.touch(20 + n, last - (FAILED - n) * gap, Reply::Silence, rng);
    }
    source.touch(20 + FAILED, last, Reply::Silence, rng);
    source.finish(rng)
}

fn all_alike(reply: Reply, rng: &mut Rng) -> Capture {
    let name = format!("slow-all-{reply:?}").to_lowercase();
    let mut source = Source::new(&name, rng);
    for n in 0..20 {
        source.touch(n, n * 400 * SECOND, reply, rng);
    }
    source.finish(rng)
}

/// Three of twelve are answered: nine have failed. Then one more fails, and pushes an answered one out.
fn answered_among(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-three-of-twelve-answered", rng);
    for n in 0..16 {
        let reply = match n {
            0..3 => [Reply::Open, Reply::HalfOpen][rng.index(2)],
            _ => FAILURES[rng.index(3)],
        };
        source.touch(n, n * 700 * SECOND, reply, rng);
    }
    source.finish(rng)
}

/// SYN+ACKs that come 4 and 6 s after their SYNs.
fn answered_late(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-answered-late", rng);
    for n in 0..16 {
        let (flow, isn) = (source.item(n), rng.next_u32());
        source.scene.at(n * 100 * SECOND).syn(flow, isn);
        if n < 4 {
            source
                .scene
                .wait((4 + n % 2 * 2) * SECOND)
                .syn_ack(flow, isn, rng.next_u32());
        }
    }
    source.finish(rng)
}

/// RSTs that come 20 s after their SYNs; the last one 1 s before the touch that decides.
fn refused_late(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-refused-late", rng);
    for n in 0..FAILED {
        let (flow, isn) = (source.item(n), rng.next_u32());
        source
            .scene
            .at(n * 60 * SECOND)
            .syn(flow, isn)
            .wait(20 * SECOND);
        source
            .scene
            .bare(flow.reversed(), RST | ACK, 0, isn.wrapping_add(1));
    }
    source.touch(
        FAILED,
        (FAILED - 1) * 60 * SECOND + 21 * SECOND,
        Reply::Open,
        rng,
    );
    source.finish(rng)
}

/// Each item is answered, then refused: the best outcome counts.
fn answered_then_refused(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-answered-then-refused", rng);
    for n in 0..FAILED + 2 {
        source.touch(n, n * 60 * SECOND, Reply::HalfOpen, rng);
        source.touch(n, n * 60 * SECOND + 20 * SECOND, Reply::Reset, rng);
    }
    source.finish(rng)
}

/// Every fourth is answered: of twelve in a row never more than nine have failed.
fn pushed_out(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-pushed-out", rng);
    for n in 0..48 {
        let reply = if n % 4 == 0 {
            Reply::Open
        } else {
            Reply::Silence
        };
        source.touch(n, n * 500 * SECOND, reply, rng);
    }
    source.finish(rng)
}

/// The same three items again and again.
fn kept_touching(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-three-items-often", rng);
    for n in 0..40 {
        source.touch(n % 3, n * 100 * SECOND, Reply::Silence, rng);
    }
    source.finish(rng)
}

/// A scan; four are answered, so that the condition is lost; then it holds again.
fn condition_lost(rng: &mut Rng) -> Capture {
    let mut source = Source::new("slow-condition-lost", rng);
    for n in 0..40 {
        let reply = match n {
            14..18 => Reply::Open,
            _ => FAILURES[rng.index(3)],
        };
        source.touch(n, n * 300 * SECOND, reply, rng);
    }
    source.finish(rng)
}

/// The last of N items is answered right before, at, or right after the touch that would decide.
fn answered_around(word: &str, off: i64, rng: &mut Rng) -> Capture {
    let mut source = Source::new(&format!("slow-answered-{word}-decision"), rng);
    source.fail(0..FAILED - 1, 10 * SECOND, rng);
    let (flow, isn) = (source.item(FAILED), rng.next_u32());
    source.scene.at(100 * SECOND).syn(flow, isn);
    let decision = 110 * SECOND;
    source.scene.at(decision + off);
    source.scene.syn_ack(flow, isn, rng.next_u32());
    source.touch(FAILED + 1, decision, Reply::Silence, rng);
    source.finish(rng)
}

/// An item that was answered, or refused, is pushed out by twelve others; then it is touched again and has no outcome.
fn comes_back(answered: bool, rng: &mut Rng) -> Capture {
    let word = if answered { "answered" } else { "refused" };
    let mut source = Source::new(&format!("slow-comes-back-{word}"), rng);
    let reply = if answered {
        Reply::HalfOpen
    } else {
        Reply::Reset
    };
    source.touch(0, 0, reply, rng);
    for n in 1..=KEPT {
        let reply = if n < 4 {
            Reply::HalfOpen
        } else {
            Reply::Silence
        };
        source.touch(n, n * 60 * SECOND, reply, rng);
    }
    // Nine of the twelve have failed. The first item comes back, and is the tenth 5 s later: not at once, as if it
    // were refused still, and not never, as if it were answered still.
    let back = (KEPT + 1) * 60 * SECOND;
    source.touch(0, back, Reply::Silence, rng);
    source.touch(3, back + UNANSWERED - 1, Reply::HalfOpen, rng);
    source.touch(2, back + UNANSWERED, Reply::HalfOpen, rng);
    source.finish(rng)
}
