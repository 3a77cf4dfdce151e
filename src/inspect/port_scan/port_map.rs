//! The state of every port of a scan: two bits each.

use crate::inspect::detection::Evidence;

/// What is known of one port of an episode; two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PortState {
    /// Not touched in this episode.
    Untouched = 0,
    /// Touched; nothing came back so far.
    Touched = 1,
    /// Answered with SYN+ACK.
    Answered = 2,
    /// Answered with RST or ICMP unreachable.
    Refused = 3,
}

impl PortState {
    /// The state of these two bits.
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Untouched,
            1 => Self::Touched,
            2 => Self::Answered,
            _ => Self::Refused,
        }
    }
}

/// Bytes of one port map: two bits for each of 65,536 ports.
pub const PORT_MAP_BYTES: usize = 65_536 / 4;

/// The state of every port of one episode.
pub struct PortMap<'a>(pub &'a mut [u8]);

impl PortMap<'_> {
    /// The state of `port`.
    pub fn get(&self, port: u16) -> PortState {
        let (at, shift) = Self::place(port);
        PortState::from_bits(self.0[at] >> shift)
    }

    /// Raises `port` to `state`; a port never goes back. Says whether it was untouched before.
    pub fn raise(&mut self, port: u16, state: PortState) -> bool {
        let before = self.get(port);
        let (at, shift) = Self::place(port);
        if state > before {
            self.0[at] = (self.0[at] & !(3 << shift)) | ((state as u8) << shift);
        }
        before == PortState::Untouched
    }

    fn place(port: u16) -> (usize, u32) {
        (usize::from(port) / 4, u32::from(port % 4) * 2)
    }

    /// The touched ports as ascending inclusive ranges.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        ranges_of((0..=u16::MAX).filter(|&port| self.get(port) != PortState::Untouched))
    }

    /// How the touched ports answered. Of those that did not, up to `in_flight` may still do so; the others
    /// are unanswered.
    pub fn evidence(&self, in_flight: u32) -> Evidence {
        let mut evidence = Evidence::default();
        for &byte in self.0.iter().filter(|&&byte| byte != 0) {
            for shift in [0, 2, 4, 6] {
                match PortState::from_bits(byte >> shift) {
                    PortState::Untouched => {}
                    PortState::Touched => evidence.unanswered += 1,
                    PortState::Answered => evidence.answered += 1,
                    PortState::Refused => evidence.refused += 1,
                }
            }
        }
        evidence.pending = evidence.unanswered.min(in_flight);
        evidence.unanswered -= evidence.pending;
        evidence
    }
}

/// Ascending distinct ports as inclusive ranges.
pub fn ranges_of(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, end)) if *end < port && port - *end == 1 => *end = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_map_keeps_ports_and_what_became_of_them() {
        let mut bytes = vec![0; PORT_MAP_BYTES];
        let mut map = PortMap(&mut bytes);
        for port in [0, 1, 2, 80, 65_535] {
            assert!(map.raise(port, PortState::Touched), "{port} is new");
        }
        assert!(!map.raise(80, PortState::Answered), "80 is not new");
        map.raise(80, PortState::Touched);
        map.raise(2, PortState::Refused);
        assert_eq!(
            map.get(80),
            PortState::Answered,
            "a retransmission does not undo an answer"
        );
        assert_eq!(map.ranges(), [(0, 2), (80, 80), (65_535, 65_535)]);
        let evidence = |pending| Evidence {
            refused: 1,
            unanswered: 3 - pending,
            answered: 1,
            pending,
        };
        assert_eq!(map.evidence(0), evidence(0));
        assert_eq!(map.evidence(2), evidence(2));
        assert_eq!(map.evidence(9), evidence(3), "no more than did not answer");
    }
}
