//! Losses before the rings: counters of the NIC and of the kernel's backlog.

use std::collections::BTreeMap;
use std::io;

use nix::sys::socket::SockProtocol;

use super::list::statistics;
use super::{NicCounters, read_proc_net};
use crate::counters::{Counters as _, counters};
use crate::host::netlink::Netlink;

impl NicCounters {
    /// Packets lost in the NIC and its driver: missed, fifo and over. An upper bound: some drivers count a
    /// packet in two of them.
    pub fn nic_drops(&self) -> u64 {
        self.rx_missed_errors
            .saturating_add(self.rx_fifo_errors)
            .saturating_add(self.rx_over_errors)
    }

    /// Adds what was counted from `before` to `now`.
    fn advance(&mut self, before: &Self, now: &Self) {
        let mut grown = *now;
        // A counter that goes back was reset (driver reload, interface set down and up).
        grown.zip(before, |_, now, before| {
            *now = now.checked_sub(before).unwrap_or(*now);
        });
        self.add(&grown);
    }
}

/// Counters of interfaces and of the backlog since the start. They never go back.
#[derive(Debug)]
pub struct Counters {
    netlink: Netlink,
    nics: Vec<Nic>,
    softnet: Softnet,
}

#[derive(Debug)]
struct Nic {
    ifindex: u32,
    last: Option<NicCounters>,
    total: NicCounters,
}

impl Counters {
    /// Starts to count for `ifindexes` and the backlog.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink and `/proc/net/softnet_stat`.
    pub fn start(ifindexes: &[u32]) -> io::Result<Self> {
        let mut counters = Self {
            netlink: Netlink::open(SockProtocol::NetlinkRoute, 0, false)?,
            nics: Vec::new(),
            softnet: Softnet::default(),
        };
        for &ifindex in ifindexes {
            let last = statistics(&mut counters.netlink, ifindex)?;
            let total = NicCounters::default();
            counters.nics.push(Nic {
                ifindex,
                last,
                total,
            });
        }
        counters.softnet.update(&read_proc_net("softnet_stat")?);
        Ok(counters)
    }

    /// Reads all counters again, also after an error. An interface that is gone keeps its totals.
    ///
    /// # Errors
    ///
    /// The last of rtnetlink's, or that of `/proc/net/softnet_stat`.
    pub fn update(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for nic in &mut self.nics {
            let now = match statistics(&mut self.netlink, nic.ifindex) {
                Ok(now) => now,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            if let (Some(before), Some(now)) = (&nic.last, &now) {
                nic.total.advance(before, now);
            }
            nic.last = now.or(nic.last);
        }
        self.softnet.update(&read_proc_net("softnet_stat")?);
        outcome
    }

    /// Follows a re-created interface from ifindex `old` to `new`. Totals go on.
    pub fn replace(&mut self, old: u32, new: u32) {
        for nic in self.nics.iter_mut().filter(|nic| nic.ifindex == old) {
            nic.ifindex = new;
            // The new device counts from 0, and it is younger than the run.
            nic.last = Some(NicCounters::default());
        }
    }

    /// Counters of `ifindex`; `None` if it is not among those of [`Self::start`].
    pub fn nic(&self, ifindex: u32) -> Option<NicCounters> {
        let found = self.nics.iter().find(|nic| nic.ifindex == ifindex);
        found.map(|nic| nic.total)
    }

    /// Counters of the backlog since the start.
    pub fn softnet(&self) -> &Softnet {
        &self.softnet
    }
}

counters! {
    /// Counters of a CPU's receive backlog.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SoftnetCounters "" {
        processed: "Packets taken from NICs and from the backlog queue",
        dropped: "Packets lost because the backlog queue was full (`net.core.netdev_max_backlog`)",
        time_squeeze: "Times the softirq ran out of its budget with work left. No loss by itself",
    }
}

/// `/proc/net/softnet_stat` since the first [`Softnet::update`], 32-bit wraps folded in.
#[derive(Clone, Debug, Default)]
pub struct Softnet {
    /// By CPU. An entry outlives its CPU's time offline: the kernel's counters go on afterwards.
    cpus: BTreeMap<u32, (SoftnetRow, SoftnetCounters)>,
}

/// One line of the file: processed, dropped, time_squeeze. The kernel's are `unsigned int`.
type SoftnetRow = [u32; 3];

impl Softnet {
    /// Takes the text of the file, at least once every 2³² packets of a CPU: else a wrap is missed.
    pub fn update(&mut self, text: &str) {
        let first = self.cpus.is_empty();
        for (cpu, row) in softnet_rows(text) {
            // A CPU that appears later came online during the run: all its counts are ours.
            let zero = if first { row } else { [0; 3] };
            let known = (zero, SoftnetCounters::default());
            let (last, total) = self.cpus.entry(cpu).or_insert(known);
            let step = |index: usize| u64::from(row[index].wrapping_sub(last[index]));
            total.processed += step(0);
            total.dropped += step(1);
            total.time_squeeze += step(2);
            *last = row;
        }
    }

    /// Counters by CPU number.
    pub fn cpus(&self) -> impl Iterator<Item = (u32, SoftnetCounters)> {
        self.cpus.iter().map(|(&cpu, &(_, total))| (cpu, total))
    }

    /// The sum over all CPUs.
    pub fn total(&self) -> SoftnetCounters {
        sum(self.cpus().map(|(_, counters)| counters))
    }

    /// The sum over all CPUs since boot, from the text of the file (each CPU modulo 2³²).
    pub fn since_boot(text: &str) -> SoftnetCounters {
        sum(softnet_rows(text)
            .into_iter()
            .map(|(_, row)| SoftnetCounters {
                processed: row[0].into(),
                dropped: row[1].into(),
                time_squeeze: row[2].into(),
            }))
    }
}

fn sum(all: impl Iterator<Item = SoftnetCounters>) -> SoftnetCounters {
    let mut sum = SoftnetCounters::default();
    all.for_each(|one| sum.add(&one));
    sum
}

/// CPU and counters of each line. Columns are hex; the CPU's number is the 13th since Linux 5.10,
/// before that lines are numbered, which is wrong only while a CPU is offline.
///
/// Source: `softnet_seq_show` (net/core/net-procfs.c).
fn softnet_rows(text: &str) -> Vec<(u32, SoftnetRow)> {
    let row = |(number, line): (usize, &str)| {
        let columns: Vec<u32> = line
            .split_whitespace()
            .map_while(|column| u32::from_str_radix(column, 16).ok())
            .collect();
        let cpu = columns.get(12).copied();
        let cpu = cpu.or_else(|| u32::try_from(number).ok())?;
        Some((cpu, *columns.first_chunk::<3>()?))
    };
    text.lines().enumerate().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
fffffffe 00000001 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
00000010 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000005
";

    #[test]
    fn softnet_counts_from_the_first_reading_and_over_the_wrap() {
        let mut softnet = Softnet::default();
        softnet.update(TWO);
        assert_eq!(softnet.total(), SoftnetCounters::default());
        softnet.update(&TWO.replace("fffffffe 00000001", "00000003 00000004"));
        let total = softnet.total();
        assert_eq!(
            (total.processed, total.dropped, total.time_squeeze),
            (5, 3, 0)
        );
        assert_eq!(
            softnet.cpus().map(|(cpu, _)| cpu).collect::<Vec<_>>(),
            [0, 5]
        );
    }

    #[test]
    fn a_cpu_that_goes_and_comes_back_loses_nothing() {
        let mut softnet = Softnet::default();
        softnet.update(TWO);
        softnet.update(TWO.lines().next().expect("a line"));
        softnet.update(&TWO.replace("00000010 ", "00000019 "));
        assert_eq!(softnet.total().processed, 9);
    }

    #[test]
    fn old_kernels_number_the_lines_and_cut_lines_are_passed_over() {
        let rows = softnet_rows("0000000a 1 2 0 0 0 0 0 0 0 0\n0000000b 3 4 0 0 0 0 0 0 0 0\n");
        assert_eq!(rows, [(0, [10, 1, 2]), (1, [11, 3, 4])]);
        for cut in 0..TWO.len() {
            assert!(softnet_rows(&TWO[..cut]).len() <= 2);
        }
        let sum = Softnet::since_boot(TWO);
        assert_eq!((sum.processed, sum.dropped), (0xffff_fffe + 16, 1));
    }

    #[test]
    fn a_counter_that_was_reset_goes_on_from_its_total() {
        let at = |rx_packets| NicCounters {
            rx_packets,
            ..NicCounters::default()
        };
        let mut total = NicCounters::default();
        total.advance(&at(100), &at(150));
        total.advance(&at(150), &at(7));
        assert_eq!(total, at(57));
    }

    #[test]
    fn the_loopback_device_and_the_backlog_can_be_read() {
        let all = crate::host::nic::list().expect("rtnetlink answers anyone");
        let lo = all
            .iter()
            .find(|link| link.name == "lo")
            .expect("lo")
            .ifindex;
        let mut counters = Counters::start(&[lo, 0x7fff_fff0]).expect("counters");
        counters.update().expect("counters");
        assert!(counters.nic(lo).is_some());
        assert_eq!(counters.nic(0x7fff_fff0), Some(NicCounters::default()));
        assert_eq!(counters.nic(9_999_999), None);
        assert!(counters.softnet().cpus().count() >= 1);
    }
}
