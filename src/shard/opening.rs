//! What happens to frames before they are decoded: checksums are verified (`--checksums verify`), tunnels opened (`--decap`).

use super::{At, BATCH, Shard};
use crate::capture::bpf::fanout;
use crate::capture::frame::{ChecksumState, Frame};
use crate::capture::tunnels::{Inside, Tunnels};
use crate::decode::MalformedCause;
use crate::decode::checksums;
use crate::decode::headers;
use crate::decode::packet::Reach;
use crate::decode::tunnel::{self, Opened, Unopened};
use crate::flow::Lane;
use std::convert::Infallible;

/// What happens to frames before they are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The tunnels that are opened.
    pub tunnels: Tunnels,
    /// Frames with bad checksums are refused.
    pub verify: bool,
}

impl Opening {
    /// Nothing.
    pub const NONE: Self = Self {
        tunnels: Tunnels::NONE,
        verify: false,
    };

    /// Whether anything happens: else [`Shard::on_frame`] takes frames as they are.
    pub fn any(&self) -> bool {
        self.tunnels.any() || self.verify
    }

    /// The frame inside all tunnels of `frame` that are opened.
    pub fn innermost<'a>(&self, frame: &Frame<'a>) -> Frame<'a> {
        let Ok(opened) = tunnel::open(frame, &self.tunnels, |_| Ok::<_, Infallible>(()));
        opened.frame
    }

    /// As [`headers::depth`]: how many of a frame's first bytes are read at most.
    pub fn depth(&self, frame: &Frame<'_>) -> usize {
        let Ok(opened) = tunnel::open(frame, &self.tunnels, |_| Ok::<_, Infallible>(()));
        match opened.has_tunnel() || self.verify {
            true => frame.bytes.len(),
            false => headers::depth(frame),
        }
    }
}

impl Shard {
    /// Reads one frame, behind what [`Opening`] says. `state`: of its outermost segment or datagram.
    pub fn on_closed_frame(&mut self, frame: &Frame<'_>, state: ChecksumState, at: &At<'_>) {
        let Opening { tunnels, verify } = self.opening;
        let counts = &mut self.counts.checksums;
        let mut state = state;
        let opened = tunnel::open(frame, &tunnels, |frame| {
            if verify && let Some(found) = checksums::verify(frame, state)? {
                counts.checksums[found.index()] += 1;
            }
            // What the NIC has verified is outermost; what is pending may be anywhere.
            if state == ChecksumState::Proven {
                state = ChecksumState::Unknown;
            }
            Ok::<_, MalformedCause>(())
        });
        match opened {
            Ok(opened) if opened.has_tunnel() => self.on_tunnel(frame, &opened, at),
            Ok(_) => self.on_frame(frame, at),
            Err(why) => {
                self.check_place(frame, at);
                self.on_unread(why.into(), frame, &At { ring: None, ..*at });
            }
        }
    }

    /// Counts a frame that the fanout program put elsewhere than its twin does.
    fn check_place(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        if let Some(ring) = at.ring {
            let place = fanout::demux_with(&self.placement.keys, frame, &self.opening.tunnels);
            let misrouted = self.placement.is_elsewhere(&place, ring);
            self.counts.misrouted_frames += u64::from(misrouted);
        }
    }

    /// Reads what is inside a frame with a tunnel, or the frame if the tunnel is not opened.
    #[inline(never)]
    fn on_tunnel(&mut self, frame: &Frame<'_>, opened: &Opened<'_>, at: &At<'_>) {
        let innermost = opened.tunnels.into_iter().flatten().last();
        let inside = innermost.map_or(Inside::NONE, Inside::from);
        let counts = &mut self.counts.tunnels;
        counts.decapsulated_frames += u64::from(inside.any());
        for tunnel in opened.tunnels.into_iter().flatten() {
            counts.tunnels_opened[tunnel.index()] += 1;
        }
        if let Some((_, why)) = opened.unopened {
            counts.tunnels_unopened[why.index()] += 1;
            // Cut by our own filter, it may have been anything.
            let is_cut = why == Unopened::Truncated && self.outbox.is_live();
            self.counts.frames_cut_by_depth += u64::from(is_cut);
        }
        self.check_place(frame, at);
        self.on_inner_frame(&opened.frame, inside, &At { ring: None, ..*at });
    }

    /// Reads a frame whose place in a ring says nothing about it.
    fn on_inner_frame(&mut self, frame: &Frame<'_>, inside: Inside, at: &At<'_>) {
        let one = &mut self.pending[self.held];
        if one.headers.read_lean(frame) {
            self.flows.prefetch(&mut one.headers, &mut one.lookup);
        } else if !self.read_ipv6(frame) && !self.read_other(frame, at) {
            return;
        }
        let has_witness = self.outbox.has_witness();
        let one = &mut self.pending[self.held];
        one.headers.inside = inside;
        if let (Lane::Other, Some(packet)) = (one.lookup.lane, self.others.last_mut()) {
            packet.inside = inside;
        }
        if inside.any() && one.headers.reach == Reach::Plain {
            one.headers.reach = Reach::Tunnel;
        }
        one.position = at.position;
        one.watermark_ns = at.watermark_ns;
        one.incoming = frame.incoming;
        // The witness reads outermost headers.
        one.in_reach = (has_witness && one.headers.is_segment()).then_some(false);
        self.held += 1;
        if self.held == BATCH {
            self.look_up(&at.timeline);
        }
    }
}
