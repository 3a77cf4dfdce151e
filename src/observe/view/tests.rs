use super::*;
use crate::flow::record::{Attempt, FiveTuple};
use crate::inspect::detection::{AlertStatus, Phase};
use crate::log::event::{Event, Step};
use crate::log::fold::Folds;
use crate::log::formats::samples;
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;

fn attempt(src: &str, dst: &str, port: u16) -> Attempt {
    Attempt {
        ts_ns: 5 * SECOND,
        tuple: FiveTuple {
            src: src.parse().expect("an address"),
            dst: dst.parse().expect("an address"),
            src_port: 1024,
            dst_port: port,
            proto: 6,
        },
        isn: 1,
        odd: false,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
    }
}

struct Lab {
    view: View,
    listener: Box<dyn Listener>,
    now_ns: i64,
}

impl Lab {
    fn new() -> Self {
        let view = View::new(None);
        let listener = view.listener();
        Self {
            view,
            listener,
            now_ns: 1000 * SECOND,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now_ns += i64::try_from(time.as_nanos()).expect("short");
        self.listener.tick(LogTime::default(), self.now_ns);
    }

    fn look(&self) -> Shown {
        self.view.look(self.now_ns)
    }

    fn event(&mut self, body: Body) {
        let event = Event {
            position: 1,
            step: Step::Timer(0),
            body,
        };
        let due = LogTime::default();
        self.listener.on_event(TapEvent {
            event: &event,
            due,
            shift_ns: 7,
        });
    }

    fn attempts(&mut self, src: &str, port: u16, count: usize) {
        for _ in 0..count {
            self.event(Body::NewConnection(attempt(src, "192.0.2.1", port)));
        }
    }
}

fn top<K: Copy>(rows: &[Row<K>]) -> Option<(K, u64)> {
    rows.first().map(|row| (row.key, row.attempts))
}

#[test]
fn it_counts_from_the_first_look_on_and_forgets_once_nobody_looks() {
    let mut lab = Lab::new();
    lab.attempts("198.51.100.1", 80, 5);
    let shown = lab.look();
    assert_eq!((shown.attempts, shown.over_s), (0, 0.0), "nobody looked");
    lab.pass(Duration::from_secs(1));
    lab.attempts("198.51.100.1", 80, 5);
    lab.attempts("198.51.100.2", 443, 3);
    lab.pass(Duration::from_secs(1));
    let shown = lab.look();
    assert_eq!((shown.attempts, shown.over_s), (8, 2.0));
    let source: IpNet = "198.51.100.1/32".parse().expect("a network");
    assert_eq!(top(&shown.sources), Some((source, 5)));
    let destination = ("192.0.2.1".parse().ok(), Some(80));
    assert_eq!(top(&shown.destinations), Some((destination, 5)));
    lab.pass(Duration::from_secs(16));
    lab.attempts("198.51.100.1", 80, 5);
    assert_eq!(lab.look().attempts, 0, "nobody looked for a while");
}

#[test]
fn counts_are_about_the_last_two_generations() {
    let mut lab = Lab::new();
    lab.look();
    for second in 0..75 {
        lab.pass(Duration::from_secs(1));
        lab.attempts("198.51.100.1", 80, 1);
        let shown = lab.look();
        let age = second as f64;
        assert!(
            shown.over_s <= 61.0 && (shown.over_s >= 30.0 || shown.over_s >= age),
            "{shown:?}"
        );
        let all = shown.attempts as f64;
        assert!(
            (all - shown.over_s).abs() <= 1.0,
            "{all} in {}",
            shown.over_s
        );
    }
}

#[test]
fn folds_count_for_their_target_and_for_prefixes_that_sent_much() {
    let mut lab = Lab::new();
    lab.look();
    lab.pass(Duration::from_secs(1));
    let mut folds = Folds::new(0, [1, 2]);
    for host in 0..10 {
        for src in [format!("198.51.100.{host}"), format!("10.{host}.0.1")] {
            assert!(folds.takes(attempt(&src, "192.0.2.1", 80)));
        }
    }
    for fold in folds.close_all() {
        lab.event(Body::Folded(Box::new(fold)));
    }
    let shown = lab.look();
    assert_eq!(shown.attempts, 20);
    assert_eq!(top(&shown.destinations).map(|(_, count)| count), Some(20));
    let prefix: IpNet = "198.51.100.0/24".parse().expect("a network");
    assert_eq!(top(&shown.sources), Some((prefix, 10)));
}

#[test]
fn scans_are_shown_until_they_end() {
    let mut lab = Lab::new();
    let mut detection = samples::scan(Phase::Started, vec![(22, 25)], 4);
    detection.phase = Phase::Started;
    detection.status = AlertStatus::Allowed;
    lab.event(Body::Alert(Box::new(detection.clone())));
    let shown = lab.look();
    assert_eq!(shown.scans.len(), 1, "also before somebody looks");
    let scan = shown.scans[0];
    assert_eq!(
        (scan.kind, scan.src),
        (detection.kind, detection.subject.src())
    );
    assert_eq!(scan.last_ns, detection.last_ns + 7);
    detection.phase = Phase::Continues;
    detection.last_ns += SECOND;
    lab.event(Body::Alert(Box::new(detection.clone())));
    let shown = lab.look();
    assert_eq!(
        (shown.scans.len(), shown.scans[0].last_ns),
        (1, detection.last_ns + 7)
    );
    detection.phase = Phase::Ended;
    lab.event(Body::Alert(Box::new(detection)));
    assert_eq!(lab.look().scans, Vec::new());
}
