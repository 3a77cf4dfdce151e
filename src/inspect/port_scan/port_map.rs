//! The state of every port of a scan, two bits each.

use crate::inspect::distinct::item::Item;
use crate::inspect::distinct::question::{ItemSet, Raised};
use crate::inspect::distinct::state::TouchState;
use std::marker::PhantomData;

/// Ports in a word of 64 bits.
const PORTS: usize = 32;
pub const PORT_MAP_WORDS: usize = 65_536 / PORTS;

/// An item with a port.
pub trait PortItem: Item {
    fn port(self) -> u16;
}

impl PortItem for u16 {
    fn port(self) -> u16 {
        self
    }
}

pub struct PortMap<'a, I> {
    words: &'a mut [u64],
    item: PhantomData<I>,
}

impl<I: PortItem> ItemSet for PortMap<'_, I> {
    type Item = I;

    fn get(&self, item: I) -> TouchState {
        self.state(item.port())
    }

    fn raise(&mut self, item: I, state: TouchState) -> Raised {
        let before = self.get(item);
        let (at, shift) = Self::place(item.port());
        if state > before {
            self.words[at] = (self.words[at] & !(3 << shift)) | ((state as u64) << shift);
        }
        match before {
            TouchState::Untouched => Raised::New,
            _ => Raised::Known,
        }
    }

    fn states(&self) -> [u32; 4] {
        let mut states = [0; 4];
        for &word in self.words.iter().filter(|&&word| word != 0) {
            for shift in (0..64).step_by(2) {
                states[(word >> shift & 3) as usize] += 1;
            }
        }
        states
    }
}

impl<'a, I> PortMap<'a, I> {
    pub fn new(words: &'a mut [u64]) -> Self {
        let item = PhantomData;
        Self { words, item }
    }

    fn state(&self, port: u16) -> TouchState {
        let (at, shift) = Self::place(port);
        TouchState::from_bits((self.words[at] >> shift & 3) as u8)
    }

    fn place(port: u16) -> (usize, u32) {
        (usize::from(port) / PORTS, u32::from(port) % 32 * 2)
    }

    /// The touched ports as ascending inclusive ranges.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        ranges_of((0..=u16::MAX).filter(|&port| self.state(port) != TouchState::Untouched))
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
    use crate::inspect::detection::Evidence;

    #[test]
    fn a_port_map_keeps_ports_and_what_became_of_them() {
        let mut words = vec![0; PORT_MAP_WORDS];
        let mut map: PortMap<'_, u16> = PortMap::new(&mut words);
        for port in [0, 1, 2, 80, 65_535] {
            assert_eq!(map.raise(port, TouchState::Touched), Raised::New, "{port}");
        }
        assert_eq!(map.raise(80, TouchState::Answered), Raised::Known);
        map.raise(80, TouchState::Touched);
        map.raise(2, TouchState::Refused);
        assert_eq!(
            map.get(80),
            TouchState::Answered,
            "a retransmission does not undo an answer"
        );
        assert_eq!(map.ranges(), [(0, 2), (80, 80), (65_535, 65_535)]);
        let evidence = |pending| Evidence {
            refused: 1,
            unanswered: 3 - pending,
            answered: 1,
            pending,
            spared: 0,
        };
        assert_eq!(map.evidence(0), evidence(0));
        assert_eq!(map.evidence(2), evidence(2));
        assert_eq!(map.evidence(9), evidence(3), "no more than did not answer");
    }
}
