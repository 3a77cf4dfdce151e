//! The distinct hosts and ports of one source: exact as long as there is room, then an estimate or a lower bound.

use crate::log::fold::sketch::Sources;
use std::net::IpAddr;

/// Hosts and ports of a source that are kept in lists.
const LISTED_MAX: usize = 16;
/// Sets that all sources share: of ports, and estimators of hosts.
const PORT_SETS: usize = 256;
const HOST_SKETCHES: usize = 1024;
const PORT_WORDS: usize = 65_536 / 64;

/// How sure a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    Exact,
    /// An estimate with a standard error of [`crate::log::fold::sketch::SOURCES_ERROR_PCT`].
    About,
    AtLeast,
}

/// A number, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub count: u64,
    pub sure: Sure,
}

impl Count {
    /// `count`, exact or a lower bound.
    pub fn new(count: u64, is_exact: bool) -> Self {
        let sure = if is_exact { Sure::Exact } else { Sure::AtLeast };
        Self { count, sure }
    }
}

/// The sets that are still free.
#[derive(Debug)]
pub struct Pool {
    port_sets: usize,
    host_sketches: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            port_sets: PORT_SETS,
            host_sketches: HOST_SKETCHES,
        }
    }
}

impl Pool {
    /// Bytes of all sets, and of the lists of so many sources.
    pub fn memory_bytes(sources: usize) -> u64 {
        let listed = LISTED_MAX * (size_of::<IpAddr>() + size_of::<u16>());
        let sets = PORT_SETS * PORT_WORDS * size_of::<u64>();
        (sources * listed + sets + HOST_SKETCHES * size_of::<Sources>()) as u64
    }

    /// Takes back the sets of a source that lost its place.
    pub fn give_back(&mut self, reach: &Reach) {
        self.port_sets += usize::from(reach.port_set.is_some());
        self.host_sketches += usize::from(reach.host_sketch.is_some());
    }
}

/// The hosts and ports that a source tried.
#[derive(Debug, Default)]
pub struct Reach {
    /// Ascending; complete while it is not full.
    hosts: Vec<IpAddr>,
    host_sketch: Option<Box<Sources>>,
    /// Some host has no room.
    more_hosts: bool,
    /// Ascending; complete while it is not full.
    ports: Vec<u16>,
    port_set: Option<Box<[u64; PORT_WORDS]>>,
    /// Some port has no room.
    more_ports: bool,
}

impl Reach {
    /// Adds what an attempt went to.
    pub fn add(&mut self, host: IpAddr, port: u16, pool: &mut Pool) {
        self.add_host(host, pool);
        self.add_port(port, pool);
    }

    fn add_host(&mut self, host: IpAddr, pool: &mut Pool) {
        if let Some(sketch) = &mut self.host_sketch {
            return sketch.add(host.into());
        }
        let Err(at) = self.hosts.binary_search(&host) else {
            return;
        };
        if self.hosts.len() < LISTED_MAX {
            self.hosts.insert(at, host);
        } else if pool.host_sketches > 0 && !self.more_hosts {
            pool.host_sketches -= 1;
            let mut sketch = Box::<Sources>::default();
            for &known in self.hosts.iter().chain([&host]) {
                sketch.add(known.into());
            }
            self.host_sketch = Some(sketch);
        } else {
            self.more_hosts = true;
        }
    }

    fn add_port(&mut self, port: u16, pool: &mut Pool) {
        let mark = |set: &mut [u64; PORT_WORDS], port: u16| {
            set[usize::from(port) / 64] |= 1 << (port % 64);
        };
        if let Some(set) = &mut self.port_set {
            return mark(set, port);
        }
        let Err(at) = self.ports.binary_search(&port) else {
            return;
        };
        if self.ports.len() < LISTED_MAX {
            self.ports.insert(at, port);
        } else if pool.port_sets > 0 && !self.more_ports {
            pool.port_sets -= 1;
            let mut set = Box::new([0; PORT_WORDS]);
            for &known in self.ports.iter().chain([&port]) {
                mark(&mut set, known);
            }
            self.port_set = Some(set);
        } else {
            self.more_ports = true;
        }
    }

    /// Number of distinct hosts.
    pub fn hosts(&self) -> Count {
        match &self.host_sketch {
            Some(sketch) => Count {
                count: sketch.estimate(),
                sure: Sure::About,
            },
            None => of_list(self.hosts.len(), self.more_hosts),
        }
    }

    /// Number of distinct ports.
    pub fn ports(&self) -> Count {
        match &self.port_set {
            Some(set) => {
                let count = set.iter().map(|word| u64::from(word.count_ones())).sum();
                Count::new(count, true)
            }
            None => of_list(self.ports.len(), self.more_ports),
        }
    }
}

/// One more than a full list holds, if there is more.
fn of_list(len: usize, more: bool) -> Count {
    Count::new(len as u64 + u64::from(more), !more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b9)).into()
    }

    #[test]
    fn ports_are_exact_up_to_all_of_them_and_hosts_are_estimated_beyond_the_list() {
        let (mut reach, mut pool) = (Reach::default(), Pool::default());
        for round in 0..2 {
            for number in 0..=u16::MAX {
                reach.add(host(u32::from(number)), number, &mut pool);
                let count = u64::from(number) + 1;
                if round == 0 {
                    assert_eq!(reach.ports(), Count::new(count, true));
                }
                if round == 0 && count <= LISTED_MAX as u64 {
                    assert_eq!(reach.hosts(), Count::new(count, true));
                }
            }
        }
        assert_eq!(reach.ports(), Count::new(65_536, true));
        let hosts = reach.hosts();
        assert_eq!(hosts.sure, Sure::About);
        assert!(hosts.count.abs_diff(65_536) < 65_536 / 7, "{hosts:?}");
        assert_eq!((pool.port_sets, pool.host_sketches), (255, 1023));
        pool.give_back(&reach);
        assert_eq!((pool.port_sets, pool.host_sketches), (256, 1024));
    }

    #[test]
    fn without_a_set_a_number_is_a_lower_bound_also_when_one_is_free_later() {
        let mut reach = Reach::default();
        let mut empty = Pool {
            port_sets: 0,
            host_sketches: 0,
        };
        for number in 0..100 {
            let port = u16::try_from(number).expect("small");
            reach.add(host(number), port, &mut empty);
        }
        let bound = Count {
            count: 17,
            sure: Sure::AtLeast,
        };
        assert_eq!((reach.hosts(), reach.ports()), (bound, bound));
        // What came before is not known: a set from now on would count too few and look exact.
        reach.add(host(1000), 1000, &mut Pool::default());
        assert_eq!((reach.hosts(), reach.ports()), (bound, bound));
    }
}
