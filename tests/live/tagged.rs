//! VLAN and QinQ tags on the way.

use super::sensor::{Sensor, attempts, of_type};
use super::traffic::{Sender, flow};
use crate::common::netns::with_veth;
use crate::common::syn;
use craft::{Flow, Link};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn tagged_frames_are_counted_once_each() {
    with_veth(|veth| {
        let links = [
            (Link::ethernet(), Value::Null),
            (Link::ethernet().vlan(7), json!([7])),
            (Link::ethernet().qinq(8, 9), json!([8, 9])),
            (Link::ethernet().vlan(10).vlan(11), json!([10, 11])),
        ];
        let sensor = Sensor::start(&["--workers", "3"]);
        let sender = Sender::new(veth);
        for (from, (link, _)) in (0..).zip(&links) {
            for port in [443, 444, 445] {
                let v4 = flow(from, port, 1, port);
                sender.send(&link.frame(&syn(v4, from)));
            }
            let [_, _, _, host] = from.to_be_bytes();
            let v6 = Flow::v6(
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)],
                1024,
                [0x2001, 0xdb8, 0, 0, 0, 0, 1, 1],
                443,
            );
            sender.send(&link.frame(&syn(v6, from)));
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), 16, "{}", ended.says);
        assert_eq!(
            ended.lines(": New connection: ").len(),
            16,
            "{}",
            ended.text
        );
        for (_, tags) in links {
            let tagged = |record: &&Value| record["vlan"] == tags;
            let count = of_type(&ended.eve, "new_connection").filter(tagged).count();
            assert_eq!(count, 4, "vlan {tags}: {:?}", attempts(&ended.eve));
        }
    });
}
