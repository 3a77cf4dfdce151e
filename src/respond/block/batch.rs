//! Networks that a person or a list names: which of them can be blocked.

use super::net_set::NetSet;
use super::table::Blocks;
use crate::books::blocks::BlockRefusal;
use ipnet::IpNet;

/// The outcome of a check, which changes nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Not blocked yet.
    pub new: Vec<IpNet>,
    /// Blocked; their time begins anew.
    pub renewed: Vec<IpNet>,
    /// With a reason: a wish that is refused. Without: no wish, as it would change nothing.
    pub refused: Vec<NotTaken>,
}

/// A network that is neither.
#[derive(Debug, PartialEq, Eq)]
pub struct NotTaken {
    pub net: IpNet,
    /// Its place among those that were checked, from 0.
    pub at: usize,
    pub reason: Option<BlockRefusal>,
    /// In words.
    pub why: String,
}

/// Checks networks; `spares` is the guard.
pub fn check(
    nets: Vec<IpNet>,
    blocks: &Blocks,
    spares: impl Fn(&IpNet) -> Option<BlockRefusal>,
) -> Batch {
    let mut nets: Vec<(usize, IpNet)> = nets.into_iter().enumerate().collect();
    // Larger ones first, for they may have others in them; of equal ones the first.
    nets.sort_unstable_by_key(|&(at, net)| (net.prefix_len(), net, at));
    let (mut batch, mut chosen) = (Batch::default(), NetSet::default());
    for (at, net) in nets {
        let refused = match chosen.covers(&net) {
            Some(same) if same == net => Some((None, "it is named twice".to_owned())),
            Some(larger) => Some((None, format!("{larger} of the same list has it"))),
            None => refusal(&net, blocks, &spares),
        };
        match (refused, blocks.get(&net)) {
            (Some((reason, why)), _) => batch.refused.push(NotTaken {
                net,
                at,
                reason,
                why,
            }),
            (None, known) => {
                chosen.insert(net);
                match known {
                    Some(_) => batch.renewed.push(net),
                    None => batch.new.push(net),
                }
            }
        }
    }
    batch
}

fn refusal(
    net: &IpNet,
    blocks: &Blocks,
    spares: impl Fn(&IpNet) -> Option<BlockRefusal>,
) -> Option<(Option<BlockRefusal>, String)> {
    if let Some(reason) = spares(net) {
        return Some((Some(reason), about(reason).to_owned()));
    }
    if let Some(block) = blocks.get(net) {
        let leaving = block.leaving.map(|_| "it is being removed: try again");
        return leaving.map(|words| (None, words.to_owned()));
    }
    let larger = blocks.covering(net)?;
    Some((None, format!("{larger} is blocked, and has it")))
}

/// A refusal of the guard in words, with what to do where something can be done.
fn about(reason: BlockRefusal) -> &'static str {
    match reason {
        BlockRefusal::Allowed => "--allow names an address of it",
        BlockRefusal::OwnAddress => "it has an address of this host or of --local",
        BlockRefusal::NoHost => {
            "no host has an address of it (loopback, multicast, broadcast, IPv4-mapped)"
        }
        BlockRefusal::LinkLocal => "it is link-local",
        BlockRefusal::Private => "it is private: --block-private allows that",
        BlockRefusal::Gateway => "it has a gateway of this host",
        BlockRefusal::Resolver => "it has a name server of this host",
        BlockRefusal::TimeServer => "it has a time server of this host",
        BlockRefusal::SshPeer => "somebody there has an SSH connection to this host",
        BlockRefusal::TooLarge => "it is too large: IPv4 from /16 on, IPv6 from /32 on",
        other => other.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Block;
    use super::*;
    use crate::books::blocks::Removal;
    use crate::log::block_record::Why;

    fn net(text: &str) -> IpNet {
        crate::host::addresses::parse_network(text).expect("a network")
    }

    /// Two addresses, of which one is leaving, and two networks.
    fn blocks() -> Blocks {
        let mut blocks = Blocks::default();
        let known = [
            "192.0.2.1",
            "192.0.2.2",
            "198.51.100.0/24",
            "203.0.113.64/26",
        ];
        for text in known {
            blocks.insert(net(text), Block::asked(Why::Found, 60, 0));
        }
        blocks.change(&net("192.0.2.2"), |block| {
            block.leaving = Some(Removal::ByHand);
        });
        blocks
    }

    #[test]
    fn each_is_new_or_refused_for_a_reason() {
        let blocks = blocks();
        let nets = [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.3",
            "198.51.100.7",
            "203.0.113.0/24",
            "2001:db8::/64",
            "2001:db8::5",
            "10.0.0.1",
            "192.0.0.0/22",
        ];
        let spares = |net: &IpNet| {
            let is_private = net.addr().to_string().starts_with("10.");
            is_private.then_some(BlockRefusal::Private)
        };
        let batch = check(nets.map(net).to_vec(), &blocks, spares);
        let new = ["192.0.0.0/22", "203.0.113.0/24", "2001:db8::/64"];
        assert_eq!(batch.new, new.map(net));
        assert!(batch.renewed.is_empty());
        let refused = batch.refused.iter();
        let refused: Vec<_> = refused
            .map(|one| (one.net.to_string(), one.reason, one.why.as_str()))
            .collect();
        let in_list = "192.0.0.0/22 of the same list has it";
        let expected: [(&str, Option<BlockRefusal>, &str); 7] = [
            (
                "10.0.0.1/32",
                Some(BlockRefusal::Private),
                "it is private: --block-private allows that",
            ),
            ("192.0.2.1/32", None, in_list),
            ("192.0.2.2/32", None, in_list),
            ("192.0.2.3/32", None, in_list),
            ("192.0.2.3/32", None, in_list),
            (
                "198.51.100.7/32",
                None,
                "198.51.100.0/24 is blocked, and has it",
            ),
            (
                "2001:db8::5/128",
                None,
                "2001:db8::/64 of the same list has it",
            ),
        ];
        assert_eq!(
            refused,
            expected.map(|(net, why, words)| (net.to_owned(), why, words))
        );
        let places: Vec<usize> = batch.refused.iter().map(|one| one.at).collect();
        assert_eq!(places, [8, 0, 1, 2, 3, 4, 7]);
    }

    #[test]
    fn one_that_is_blocked_begins_anew_unless_it_is_leaving() {
        let some = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.3"];
        let batch = check(some.map(net).to_vec(), &blocks(), |_| None);
        assert_eq!(batch.new, [net("192.0.2.3")]);
        assert_eq!(batch.renewed, [net("192.0.2.1")]);
        let words: Vec<_> = batch.refused.iter().map(|one| one.why.as_str()).collect();
        assert_eq!(
            words,
            ["it is being removed: try again", "it is named twice"]
        );
        // Of equal ones the first is taken.
        assert_eq!((batch.refused[0].at, batch.refused[1].at), (1, 3));
    }
}
