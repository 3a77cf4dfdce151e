//! What a driver counts as lost, by its own names: each has others.
//!
//! Names: virtio_net, ena, mlx5_core, ixgbe and their relatives in the kernel's drivers/net.

use crate::sys::ethtool::{Asker, Question};
use crate::words::until_zero;

words! {
    /// What a driver's counter says.
    pub(crate) enum DriverLoss {
        /// The NIC or its driver had no room for packets.
        Room = "room",
        /// The cloud's hypervisor limits this kind of instance.
        Allowance = "allowance",
        /// An XDP program dropped packets.
        Xdp = "xdp",
    }
}

/// Whole names.
const NAMES: [(&str, DriverLoss); 20] = [
    // virtio_net
    ("rx_drops", DriverLoss::Room),
    // ena
    ("rx_overruns", DriverLoss::Room),
    ("bw_in_allowance_exceeded", DriverLoss::Allowance),
    ("bw_out_allowance_exceeded", DriverLoss::Allowance),
    ("pps_allowance_exceeded", DriverLoss::Allowance),
    ("conntrack_allowance_exceeded", DriverLoss::Allowance),
    ("linklocal_allowance_exceeded", DriverLoss::Allowance),
    // mlx5_core
    ("rx_out_of_buffer", DriverLoss::Room),
    ("rx_discards_phy", DriverLoss::Room),
    ("rx_steer_missed_packets", DriverLoss::Room),
    ("rx_buff_alloc_err", DriverLoss::Room),
    ("rx_xdp_drop", DriverLoss::Xdp),
    ("dev_out_of_buffer", DriverLoss::Room),
    // ixgbe, igb, e1000e
    ("rx_no_dma_resources", DriverLoss::Room),
    ("rx_no_buffer_count", DriverLoss::Room),
    ("alloc_rx_page_failed", DriverLoss::Room),
    ("alloc_rx_buff_failed", DriverLoss::Room),
    // ice, i40e
    ("rx_alloc_fail", DriverLoss::Room),
    ("port.rx_discards", DriverLoss::Room),
    ("port.rx_dropped", DriverLoss::Room),
];
/// Ends of names of single queues, which the whole names may not sum up.
const OF_QUEUES: [(&str, DriverLoss); 6] = [
    ("_xdp_drops", DriverLoss::Xdp),
    ("_xdp_drop", DriverLoss::Xdp),
    ("_drops", DriverLoss::Room),
    ("_page_alloc_fail", DriverLoss::Room),
    ("_buff_alloc_err", DriverLoss::Room),
    ("_skb_alloc_fail", DriverLoss::Room),
];

/// A driver and its counters of losses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Its name; empty: it does not say.
    pub name: String,
    /// Losses that are not 0 since the driver was loaded, by its names; those of queues summed up (`rx*_drops`).
    pub lost: Vec<(DriverLoss, String, u64)>,
}

/// Asks the driver of the interface.
pub(crate) fn driver(interface: &str) -> Driver {
    let Ok(asker) = Asker::new(interface) else {
        return Driver::default();
    };
    let name = asker.ask(Question::Driver);
    let counters = asker.counters();
    let counters = counters.iter().map(|(name, count)| (name.as_str(), *count));
    Driver {
        name: name.map_or_else(String::new, |answer| until_zero(&answer.0[4..36])),
        lost: losses(counters),
    }
}

/// The losses among a driver's counters.
fn losses<'a>(counters: impl Iterator<Item = (&'a str, u64)>) -> Vec<(DriverLoss, String, u64)> {
    let mut found: Vec<(DriverLoss, String, u64)> = Vec::new();
    for (name, count) in counters.filter(|(_, count)| *count > 0) {
        let Some((lost, name)) = meaning(name) else {
            continue;
        };
        match found.iter_mut().find(|(_, known, _)| *known == name) {
            Some((_, _, sum)) => *sum = sum.saturating_add(count),
            None => found.push((lost, name, count)),
        }
    }
    found
}

/// What a counter says, and its name without the number of a queue.
fn meaning(name: &str) -> Option<(DriverLoss, String)> {
    if let Some((_, lost)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some((*lost, name.to_owned()));
    }
    // Of transmit queues nothing: what was not sent is not lost to the sensor.
    let digits = name.find(|letter: char| letter.is_ascii_digit())?;
    let is_receiving = name.contains("rx") && !name[..digits].contains("tx");
    let (end, lost) = OF_QUEUES.iter().find(|(end, _)| name.ends_with(end))?;
    is_receiving.then(|| (*lost, format!("{}*{end}", &name[..digits])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_drivers_losses_are_found_by_name() {
        let counters = [
            ("rx_packets", 9),
            ("rx_queue_0_drops", 2),
            ("rx_queue_11_drops", 3),
            ("rx_queue_0_xdp_drops", 4),
            ("rx0_xdp_drop", 1),
            ("tx_queue_0_drops", 5),
            ("tx0_xdp_drops", 5),
            ("queue_3_rx_page_alloc_fail", 6),
            ("queue_3_tx_drops", 7),
            ("pps_allowance_exceeded", 8),
            ("rx_out_of_buffer", 10),
            ("rx_no_dma_resources", 0),
        ];
        let expected = [
            (DriverLoss::Room, "rx_queue_*_drops", 5),
            (DriverLoss::Xdp, "rx_queue_*_xdp_drops", 4),
            (DriverLoss::Xdp, "rx*_xdp_drop", 1),
            (DriverLoss::Room, "queue_*_page_alloc_fail", 6),
            (DriverLoss::Allowance, "pps_allowance_exceeded", 8),
            (DriverLoss::Room, "rx_out_of_buffer", 10),
        ];
        let expected = expected.map(|(lost, name, count)| (lost, name.to_owned(), count));
        assert_eq!(losses(counters.into_iter()), expected);
    }

    #[test]
    fn an_interface_without_such_counters_has_none() {
        assert_eq!(driver("lo").lost, []);
        assert_eq!(driver("no-such-nic0"), Driver::default());
        assert_eq!(driver("a name that is much too long"), Driver::default());
    }
}
