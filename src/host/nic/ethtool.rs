//! Offloads, rings, queues and receive hashing of a driver, from `SIOCETHTOOL`. Read only.
//!
//! `None`: the driver does not answer this question, as many do not.

use std::io;

use crate::sys::ethtool::{Answer, Asker, KEY_BYTES_MAX, Question, RXFH_BYTES};

const ETH_FLAG_LRO: u32 = 1 << 15;

/// Packet types with hash fields of their own: ethtool's word, and the kernel's number.
pub const FLOW_TYPES: [(&str, u32); 4] = [("tcp4", 1), ("udp4", 2), ("tcp6", 5), ("udp6", 6)];

/// A driver's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ethtool {
    /// The kernel merges received segments (generic receive offload).
    pub gro: Option<bool>,
    /// The NIC merges received segments (large receive offload).
    pub lro: Option<bool>,
    /// The NIC splits sent segments (TCP segmentation offload).
    pub tso: Option<bool>,
    /// The kernel splits sent segments late (generic segmentation offload).
    pub gso: Option<bool>,
    /// Receive descriptors: current, maximum.
    pub rx_ring: Option<(u32, u32)>,
    /// Receive queues: current, maximum.
    pub rx_channels: Option<(u32, u32)>,
    /// They are set apart from transmit queues (`ethtool -L NAME rx`), not combined with them.
    pub rx_only: bool,
    /// Whether receive hashing is symmetric, given symmetric fields.
    pub rss: Rss,
    /// Length of the hash key.
    pub rss_key_bytes: Option<u32>,
    /// The hashed fields (`RXH_*` bits) of each of [`FLOW_TYPES`].
    pub hash_fields: [Option<u64>; FLOW_TYPES.len()],
}

/// Whether the fields are symmetric in source and destination: both addresses or neither, both ports or neither,
/// and nothing else.
///
/// Source: `ethtool_rxfh_config_is_sym` in the kernel's net/ethtool/common.c.
pub fn fields_are_symmetric(fields: u64) -> bool {
    const ADDRESSES: u64 = 1 << 4 | 1 << 5; // RXH_IP_SRC, RXH_IP_DST
    const PORTS: u64 = 1 << 6 | 1 << 7; // RXH_L4_B_0_1, RXH_L4_B_2_3
    let both_or_neither = |pair: u64| fields & pair == 0 || fields & pair == pair;
    fields & !(ADDRESSES | PORTS) == 0 && both_or_neither(ADDRESSES) && both_or_neither(PORTS)
}

/// Whether receive hashing is symmetric: both directions of a connection meet the same receive queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// The driver does not say.
    #[default]
    Unknown,
    /// The key repeats every 16 bits, or the NIC mixes both directions before it hashes.
    Symmetric,
    /// The two directions hash differently.
    Asymmetric,
}

/// Asks the driver of the interface `name`.
///
/// # Errors
///
/// No socket can be opened, or the name is too long.
pub fn ask(name: &str) -> io::Result<Ethtool> {
    let asker = Asker::new(name)?;
    let (rss, rss_key_bytes) = rss(&asker);
    let channels = asker.ask(Question::Channels);
    Ok(Ethtool {
        gro: value(&asker, Question::Gro).map(|value| value != 0),
        lro: value(&asker, Question::Flags).map(|flags| flags & ETH_FLAG_LRO != 0),
        tso: value(&asker, Question::Tso).map(|value| value != 0),
        gso: value(&asker, Question::Gso).map(|value| value != 0),
        rx_ring: rx_ring(&asker),
        rx_channels: channels.as_ref().map(rx_channels),
        rx_only: channels.is_some_and(|answer| answer.word(4) == 0),
        rss,
        rss_key_bytes,
        hash_fields: FLOW_TYPES.map(|(_, flow_type)| hash_fields(&asker, flow_type)),
    })
}

/// The one value of a `struct ethtool_value`.
fn value(asker: &Asker, question: Question) -> Option<u32> {
    Some(asker.ask(question)?.word(1))
}

/// `struct ethtool_ringparam`: rx_max_pending is word 1, rx_pending word 5.
fn rx_ring(asker: &Asker) -> Option<(u32, u32)> {
    let answer = asker.ask(Question::Ring)?;
    Some((answer.word(5), answer.word(1)))
}

/// `struct ethtool_channels`: max_rx, max_combined are words 1 and 4, the counts 5 and 8.
fn rx_channels(answer: &Answer) -> (u32, u32) {
    let sum = |rx, combined| answer.word(rx).saturating_add(answer.word(combined));
    (sum(5, 8), sum(1, 4))
}

/// `struct ethtool_rxnfc`: flow_type is word 1, data words 2 and 3.
fn hash_fields(asker: &Asker, flow_type: u32) -> Option<u64> {
    let answer = asker.ask(Question::HashFields(flow_type))?;
    let halves = [answer.word(2), answer.word(3)].map(u32::to_ne_bytes);
    let bytes = halves.concat().try_into().expect("two words");
    Some(u64::from_ne_bytes(bytes))
}

/// Symmetry, and the length of the key. Asks for the sizes, then for the key without the table (table size 0).
fn rss(asker: &Asker) -> (Rss, Option<u32>) {
    let Some(sizes) = asker.ask(Question::RssSizes) else {
        return (Rss::Unknown, None);
    };
    let length = sizes.word(3);
    let key_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if key_bytes == 0 || key_bytes > KEY_BYTES_MAX {
        return (Rss::Unknown, None);
    }
    let Some(answer) = asker.ask(Question::RssKey(length)) else {
        return (Rss::Unknown, Some(length));
    };
    // Byte 17 is input_xfrm (Linux 6.8): 1 XORs both directions, 2 ORs and XORs them.
    let key = &answer.0[RXFH_BYTES..][..key_bytes];
    (symmetry(answer.0[16], answer.0[17], key), Some(length))
}

/// Symmetry from hash function, input transformation and key.
///
/// With a Toeplitz key of period 16 bits the hash of a word does not depend on its place, so exchanged addresses
/// and ports hash the same.
fn symmetry(function: u8, transformation: u8, key: &[u8]) -> Rss {
    const TOEPLITZ: u8 = 1;
    if matches!(transformation, 1 | 2) {
        return Rss::Symmetric;
    }
    // A key of zeros is a placeholder of drivers that hide the real one.
    if function != TOEPLITZ || key.iter().all(|&byte| byte == 0) {
        return Rss::Unknown;
    }
    match key.windows(3).all(|window| window[0] == window[2]) {
        true => Rss::Symmetric,
        false => Rss::Asymmetric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_period_16_bits_is_symmetric_and_only_that() {
        let periodic: Vec<u8> = [0x6d, 0x5a].into_iter().cycle().take(40).collect();
        assert_eq!(symmetry(1, 0, &periodic), Rss::Symmetric);
        let mut other = periodic.clone();
        other[39] ^= 1;
        assert_eq!(symmetry(1, 0, &other), Rss::Asymmetric);
        assert_eq!(symmetry(1, 1, &other), Rss::Symmetric);
        assert_eq!(symmetry(1, 0, &[0; 40]), Rss::Unknown);
        assert_eq!(symmetry(4, 0, &periodic), Rss::Unknown);
    }

    #[test]
    fn fields_are_symmetric_in_pairs_and_only_those() {
        let (src, dst, first, second) = (1 << 4, 1 << 5, 1 << 6, 1 << 7);
        for pairs in [0, src | dst, src | dst | first | second] {
            assert!(fields_are_symmetric(pairs), "{pairs:#x}");
        }
        let flow_label = 1 << 9;
        for odd in [src, dst, first, src | dst | second, src | dst | flow_label] {
            assert!(!fields_are_symmetric(odd), "{odd:#x}");
        }
    }

    #[test]
    fn the_loopback_device_answers_and_a_missing_one_does_not() {
        let lo = ask("lo").expect("a socket");
        assert_eq!(lo.rx_ring, None, "lo has no ring");
        assert_eq!(lo.rss, Rss::Unknown);
        assert_eq!(ask("not-there").expect("a socket"), Ethtool::default());
        assert!(ask("a-name-of-16-byte").is_err());
    }
}
