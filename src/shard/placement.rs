//! Whether the kernel's fanout program put a frame where its twin in user space does.

use crate::capture::bpf::fanout::{self, Demux, Keys};
use crate::capture::frame::{Class, Frame};
use crate::decode::Headers;

/// The place of one worker's rings among those of all workers.
pub(super) struct Placement {
    pub keys: Keys,
    pub worker: usize,
    pub workers: u32,
    /// Frames so far that are no whole segment or datagram.
    pub others: u32,
}

/// One in so many of those frames is checked.
const SAMPLE: u32 = 16;

impl Placement {
    /// Live: whether a frame from a ring of this class belongs elsewhere. What decoding found of a whole TCP
    /// segment or UDP datagram decides; of other frames, whose headers are read once more, a sample is checked.
    #[inline]
    pub fn is_misrouted(
        &mut self,
        frame: &Frame<'_>,
        headers: Option<&Headers>,
        ring: Class,
    ) -> bool {
        match headers.and_then(Headers::as_whole) {
            Some(of) => {
                let place = fanout::whole(&self.keys, of.ends, of.ports, of.flags);
                self.is_elsewhere(&place, ring)
            }
            None => self.is_other_misrouted(frame, ring),
        }
    }

    #[inline(never)]
    fn is_other_misrouted(&mut self, frame: &Frame<'_>, ring: Class) -> bool {
        self.others = self.others.wrapping_add(1);
        let is_checked = self.others % SAMPLE == 1;
        is_checked && self.is_elsewhere(&fanout::demux(&self.keys, frame), ring)
    }

    #[inline(always)]
    pub fn is_elsewhere(&self, place: &Demux, ring: Class) -> bool {
        let (class, worker) = place.member(self.workers);
        (class, worker as usize) != (ring, self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::LinkType;
    use crate::decode;

    #[test]
    fn every_segment_and_a_sample_of_other_frames_are_checked() {
        let mut placement = Placement {
            keys: Keys::from_seed(1),
            worker: 0,
            workers: 1,
            others: 0,
        };
        let flow = craft::Flow::v4([192, 0, 2, 1], 1024, [10, 0, 0, 5], 80);
        let segment = craft::Tcp::new(flow, craft::SYN, 1).bytes();
        let ip = craft::Ip::new(flow.src, flow.dst, 6);
        let echo = craft::icmp::echo((flow.src, flow.dst), false, 1, 1, &[0; 8]);
        let echo = craft::Ip::new(flow.src, flow.dst, 1).bytes(&echo);
        for (bytes, right, checked) in [
            (ip.bytes(&segment), Class::Open, 160),
            (ip.fragment(&segment, 16, 20), Class::Data, 10),
            (echo, Class::Data, 10),
        ] {
            let bytes = craft::Link::ethernet().frame(&bytes);
            let frame = Frame {
                bytes: &bytes,
                wire_len: 60,
                ts_ns: 0,
                interface: 0,
                link: LinkType::Ethernet,
                vlan: None,
                gso: false,
                incoming: false,
            };
            let packet = decode::packet(&frame).expect("a sound packet");
            let headers = Headers::of(&packet);
            let mut in_ring = |ring| {
                let found =
                    (0..160).filter(|_| placement.is_misrouted(&frame, headers.as_ref(), ring));
                found.count()
            };
            assert_eq!((in_ring(right), in_ring(Class::Control)), (0, checked));
        }
    }
}
