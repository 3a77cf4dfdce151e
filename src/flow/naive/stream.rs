//! The model's sequence numbers: what was sent again, what is missing.

use super::flow::Flow;
use super::{ACK, FIN, RST, SYN};
use crate::decode::packet::Tcp;

const GIB: u64 = 1 << 30;

/// Missing bytes of a side that may still come.
#[derive(Clone, Copy)]
pub struct Hole {
    side: usize,
    start: u32,
    end: u32,
    left: u64,
}

/// Steps from `a` up to `b`.
fn up(a: u32, b: u32) -> u64 {
    u64::from(b.wrapping_sub(a))
}

impl Flow {
    fn settle(&mut self) {
        if let Some(hole) = self.hole.take() {
            self.volumes[hole.side].missed_bytes += hole.left;
        }
    }

    /// Volumes with the hole that is open.
    pub fn volumes_now(&self) -> [crate::flow::record::Volume; 2] {
        let mut volumes = self.volumes;
        if let Some(hole) = self.hole {
            volumes[hole.side].missed_bytes += hole.left;
        }
        volumes
    }

    /// Follows a segment of a connection, whose letters are in already.
    pub fn follow(&mut self, tcp: &Tcp, side: usize, is_first: bool) {
        let f = tcp.flags;
        let length = tcp.payload_len + u32::from(f & SYN != 0) + u32::from(f & FIN != 0);
        let end = tcp.seq.wrapping_add(length);
        if let Some(hole) = self.hole {
            if hole.side == side {
                if (16 << 20..GIB).contains(&up(hole.start, tcp.seq)) {
                    self.settle();
                }
            } else if f & ACK != 0 && f & RST == 0 && up(hole.end, tcp.ack) <= GIB {
                if self.proven {
                    self.letter([b'G', b'g'][hole.side]);
                }
                self.settle();
            }
        }
        let next = self.next[side];
        let (below, above) = (up(tcp.seq, next), up(next, tcp.seq));
        let mine = self.hole.is_some_and(|hole| hole.side == side);
        if is_first {
            self.next[side] = end;
        } else if f & (SYN | RST) != 0 {
        } else if below > GIB && above > GIB {
            if mine {
                self.settle();
            }
            self.next[side] = end;
        } else if above > 0 && above <= GIB {
            match &mut self.hole {
                Some(hole) if mine && up(hole.start, tcp.seq) <= 16 << 20 => {
                    (hole.end, hole.left) = (tcp.seq, hole.left + above);
                }
                _ => {
                    self.settle();
                    self.hole = Some(Hole {
                        side,
                        start: next,
                        end: tcp.seq,
                        left: above,
                    });
                }
            }
            self.next[side] = end;
        } else {
            if below > 0 {
                self.repeat(tcp, side, below);
            }
            if (1..1 << 31).contains(&up(next, end)) {
                self.next[side] = end;
            }
        }
    }

    fn repeat(&mut self, tcp: &Tcp, side: usize, below: u64) {
        let seen = below.min(tcp.payload_len.into());
        if seen == 0 {
            return;
        }
        let mut filled = 0;
        if let Some(hole) = self.hole.as_mut().filter(|hole| hole.side == side) {
            // One by one.
            let (span, left) = (up(hole.start, hole.end), hole.left);
            let inside = |nth: u64| {
                let number = tcp
                    .seq
                    .wrapping_add(u32::try_from(nth).expect("within 1 GiB"));
                up(hole.start, number) < span
            };
            filled = (0..seen).filter(|nth| inside(*nth)).count() as u64;
            filled = filled.min(left);
            let begins = up(tcp.seq, hole.start);
            hole.left -= filled;
            if begins <= GIB {
                hole.start = hole
                    .start
                    .wrapping_add(u32::try_from(filled).expect("within 1 GiB"));
            }
            if hole.left == 0 {
                self.hole = None;
            }
        }
        let volume = &mut self.volumes[side];
        volume.retransmitted_bytes += seen - filled;
        if u64::from(tcp.payload_len) + u64::from(tcp.flags & FIN != 0) <= below {
            volume.retransmitted_packets += 1;
            let letter = [b'T', b't'][side];
            match volume.retransmitted_packets {
                1 => self.letter(letter),
                10 | 100 | 1000 | 10_000 if self.letters.len() < 16 => self.letters.push(letter),
                _ => {}
            }
        }
    }
}
