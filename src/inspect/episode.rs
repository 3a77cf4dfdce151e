//! A port scan between its rising edge and its summary: which ports, and what became of them.

use super::detection::Evidence;

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
    fn from_bits(bits: u8) -> Self {
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

    /// How the touched ports answered; whatever did not is unanswered.
    pub fn evidence(&self) -> Evidence {
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

/// One episode.
#[derive(Clone, Debug)]
pub struct Episode {
    /// Slot of its pair in the table of pairs.
    pub pair: u32,
    /// First touch of the rising edge's window.
    pub first_ns: i64,
    /// Distinct ports so far; a lower bound without a map.
    pub ports: u32,
    /// Ports at which the next `continues` is due.
    pub next_report: u32,
    /// Its port map in the pool, where one was free.
    pub map: Option<u32>,
    /// Interface of the deciding packet.
    pub interface: u16,
    /// Told apart from a former episode in the same slot.
    pub generation: u32,
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
        assert_eq!(
            map.evidence(),
            Evidence {
                refused: 1,
                unanswered: 3,
                answered: 1
            }
        );
    }
}
