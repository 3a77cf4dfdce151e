//! Port scans whose deciding touch lies on a border: one nanosecond before, on, and after it.

use super::scene::{SECOND, Scene, WINDOW, flow};
use crate::capture::Capture;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::Flow;

/// Distances from a border, with the words for them in names.
const BORDERS: [(&str, i64); 3] = [("before", -1), ("on", 0), ("after", 1)];

/// Touches: time after the start, destination port.
type Touches = Vec<(i64, u16)>;

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for v6 in [false, true] {
        let family = if v6 { "v6" } else { "v4" };
        for (word, off) in BORDERS {
            for ports in [3, 4, 5] {
                let touches = spread(rng, ports, WINDOW + off);
                out.push(touched(
                    rng,
                    v6,
                    &format!("ports-{ports}-window-{word}-{family}"),
                    &touches,
                ));
            }
            let touches = retransmitted(WINDOW + off);
            out.push(touched(
                rng,
                v6,
                &format!("retransmission-{word}-{family}"),
                &touches,
            ));
            let touches = rearmed(2 * WINDOW + off);
            out.push(touched(
                rng,
                v6,
                &format!("rearm-burst-{word}-{family}"),
                &touches,
            ));
        }
    }
    for (word, off) in BORDERS {
        out.push(touched(
            rng,
            false,
            &format!("rearm-kept-alive-{word}"),
            &kept_alive(off),
        ));
        out.push(touched(
            rng,
            false,
            &format!("fourth-newest-{word}"),
            &fourth_newest(off),
        ));
        let slow: Touches = (0..24)
            .zip(1..)
            .map(|(i, p)| (i * (20 * SECOND + off), p))
            .collect();
        out.push(touched(rng, false, &format!("slow-20s-{word}"), &slow));
        for order in 0..2 {
            let mut touches = spread(rng, 4, WINDOW + off);
            rng.shuffle(&mut touches);
            out.push(touched(
                rng,
                false,
                &format!("order-{order}-window-{word}"),
                &touches,
            ));
        }
    }
    out.extend(plain(rng));
    out.extend(pairs(rng));
    out
}

fn touched(rng: &mut Rng, v6: bool, name: &str, touches: &[(i64, u16)]) -> Capture {
    let link = if v6 && rng.one_in(2) {
        Link::ethernet().vlan(7)
    } else {
        Link::ethernet()
    };
    let mut scene = Scene::new(name, link);
    scene.touches(flow(rng, v6), touches);
    scene.capture
}

/// `ports` touches, the first at 0, the last at `last`.
fn spread(rng: &mut Rng, ports: u16, last: i64) -> Touches {
    let first_port = 1 + rng.next_u16() % 1000;
    let mut out: Touches = (0..ports)
        .map(|i| (i64::from(i) * SECOND, first_port + i))
        .collect();
    if let Some(touch) = out.last_mut() {
        touch.0 = last;
    }
    out
}

/// Port 1 is first touched outside the window, and again `age` before the deciding touch.
fn retransmitted(age: i64) -> Touches {
    let last = age + 20 * SECOND;
    vec![
        (0, 1),
        (20 * SECOND, 1),
        (21 * SECOND, 2),
        (22 * SECOND, 3),
        (last, 4),
    ]
}

/// Fires at 3 s, so that the rule holds until 60 s; the second burst ends at `second`.
fn rearmed(second: i64) -> Touches {
    let mut out: Touches = (0..4)
        .zip(1..)
        .map(|(i, port)| (i * SECOND, port))
        .collect();
    out.extend(
        (1..4)
            .rev()
            .zip(5..)
            .map(|(i, port)| (second - i * SECOND, port)),
    );
    out.push((second, 8));
    out
}

/// Touches while the rule holds move its end; then three ports go on.
fn kept_alive(off: i64) -> Touches {
    let mut out: Touches = (0..4)
        .zip(1..)
        .map(|(i, port)| (i * SECOND, port))
        .collect();
    out.extend((0..4).zip(1..).map(|(i, port)| ((40 + i) * SECOND, port)));
    // The rule holds until 100 s and rearms at 160 s.
    out.extend([
        (105 * SECOND, 1),
        (110 * SECOND, 2),
        (115 * SECOND, 3),
        (150 * SECOND, 1),
    ]);
    out.extend([
        (152 * SECOND, 2),
        (154 * SECOND, 3),
        (160 * SECOND + off, 9),
    ]);
    out
}

/// Six ports; only the four newest can decide.
fn fourth_newest(off: i64) -> Touches {
    let t = 100 * SECOND;
    vec![
        (0, 1),
        (SECOND, 2),
        (t, 3),
        (t + SECOND, 4),
        (t + 2 * SECOND, 5),
        (t + WINDOW + off, 6),
    ]
}

fn plain(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for ports in [3, 4, 5] {
        let touches: Touches = (1..=ports).map(|port| (0, port)).collect();
        out.push(touched(
            rng,
            false,
            &format!("ports-{ports}-equal-times"),
            &touches,
        ));
    }
    for seconds in [5, 61] {
        let touches: Touches = (0..40)
            .zip(1..)
            .map(|(i, p)| (i * seconds * SECOND, p))
            .collect();
        out.push(touched(rng, false, &format!("slow-{seconds}s"), &touches));
    }
    let three: Touches = (0..40)
        .map(|i| (i * SECOND, [80, 81, 82][rng.index(3)]))
        .collect();
    out.push(touched(rng, false, "three-ports-often", &three));
    let mut touches = spread(rng, 4, 3 * SECOND);
    touches.extend([(-3600 * SECOND, 7), (-3599 * SECOND, 8), (4 * SECOND, 9)]);
    out.push(touched(rng, false, "an-hour-backward", &touches));
    let mut zero = touched(
        rng,
        false,
        "around-time-zero",
        &[(0, 0), (1, 1), (2, 2), (3, 3)],
    );
    for (frame, ts_ns) in zero.frames.iter_mut().zip(0..) {
        frame.ts_ns = ts_ns;
    }
    out.push(zero);
    let all: Touches = (0..1200).map(|i| (i * SECOND / 100, 1)).collect();
    let mut ports: Vec<u16> = (1..=1200).collect();
    rng.shuffle(&mut ports);
    let all: Touches = all
        .iter()
        .zip(ports)
        .map(|(&(ns, _), port)| (ns, port))
        .collect();
    out.push(touched(rng, false, "twelve-hundred-ports", &all));
    out
}

/// Six ports, spread over two flows.
fn pairs(rng: &mut Rng) -> Vec<Capture> {
    let one = flow(rng, false);
    let other = Flow {
        src: Flow::v4([203, 0, 113, 9], 0, [0; 4], 0).src,
        ..one
    };
    let elsewhere = Flow {
        dst: Flow::v4([0; 4], 0, [203, 0, 113, 8], 0).dst,
        ..one
    };
    let lists: [(&str, [Flow; 2]); 4] = [
        ("two-sources", [one, other]),
        ("two-targets", [one, elsewhere]),
        ("both-directions", [one, one.reversed()]),
        ("two-source-ports", [one, one.from_port(99)]),
    ];
    let mut out = Vec::new();
    for (name, flows) in lists {
        let mut scene = Scene::new(&format!("three-ports-each-{name}"), Link::ethernet());
        for (port, ns) in (1..=6).zip((0..).step_by(1_000_000_000)) {
            let flow = flows[usize::from(port % 2)];
            scene.at(ns).syn(flow.to_port(port), u32::from(port));
        }
        out.push(scene.capture);
    }
    out
}
