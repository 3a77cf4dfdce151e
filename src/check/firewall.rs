//! Which firewalls this host has for `--block`, and which one fits an interface.

use super::{CAP_BPF, CAP_NET_ADMIN, Facts, Finding, Level};
use crate::capture::frame::LinkType;
use crate::host::nic::{Interface, Xdp};

const SEEN_BY_XDP: &str = "It drops before the kernel spends memory on a packet; also packets of established \
    connections, forwarded ones and bridged ones. It does not see what hardware forwards, nor inside tunnels. What it \
    drops, this sensor does not see.";
const SEEN_BY_NFT: &str = "It drops packets of established connections and forwarded ones, too. It does not see bridged \
    frames, what hardware or a flowtable forwards, nor inside tunnels. This sensor sees what it drops.";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let all = facts.interfaces.iter().flatten();
    let pairs = all.map(|(interface, _)| interface).zip(&facts.paths.xdp);
    let of_interfaces = pairs.filter_map(|(interface, xdp)| finding(facts, interface, *xdp));
    std::iter::once(nftables(facts))
        .chain(of_interfaces)
        .collect()
}

fn nftables(facts: &Facts) -> Finding {
    match &facts.nftables {
        Some(Ok(true)) => Finding::ok(
            "nf_tables is there, and tables may have owners: no other program changes that of --block nft",
        ),
        Some(Ok(false)) => Finding::new(
            Level::Note,
            "nf_tables is there, but tables have no owners (Linux 6.9)",
            "Others can change the table of --block nft. What they change is put right, and said.",
            "",
        ),
        Some(Err(error)) => Finding::new(
            Level::Note,
            format!("nf_tables does not answer ({error})"),
            "Optional: --block nft does not start without it.",
            "sudo modprobe nf_tables   # or --block xdp",
        ),
        None => Finding::ok("nf_tables was not asked: that takes CAP_NET_ADMIN, as --block does"),
    }
}

fn finding(facts: &Facts, interface: &Interface, xdp: Xdp) -> Option<Finding> {
    // Nothing comes in there but from this host.
    if interface.loopback {
        return None;
    }
    let name = &interface.name;
    let nft = |because: &str| match facts.nftables {
        Some(Err(_)) => {
            let what = format!("{name}: no firewall fits (no nf_tables; {because})");
            let why = "--block dry-run says there whom it would block.";
            Finding::new(Level::Note, what, why, "")
        }
        _ => {
            let what = format!("{name}: to block, --block nft ({because})");
            Finding::new(Level::Ok, what, SEEN_BY_NFT, "")
        }
    };
    let may_attach = facts.can(CAP_NET_ADMIN) && facts.can(CAP_BPF);
    if facts.older_than(5, 9) {
        return Some(nft("--block xdp needs Linux 5.9"));
    }
    if interface.link != Some(LinkType::Ethernet) {
        return Some(nft("its frames have no Ethernet header"));
    }
    if xdp.taken == Some(true) {
        return Some(nft("an XDP program is there, which is not replaced"));
    }
    match xdp.native {
        Some(true) if may_attach => {
            let what = format!("{name}: to block, --block xdp (its driver has XDP: native mode)");
            Some(Finding::new(Level::Ok, what, SEEN_BY_XDP, ""))
        }
        Some(true) => Some(nft(
            "its driver has XDP, which needs CAP_NET_ADMIN and CAP_BPF",
        )),
        Some(false) if may_attach && matches!(facts.nftables, Some(Err(_))) => {
            let what = format!("{name}: to block, --block xdp (no nf_tables; generic mode)");
            Some(Finding::new(Level::Ok, what, SEEN_BY_XDP, ""))
        }
        Some(false) => Some(nft(
            "its driver has no XDP: --block xdp would be in generic mode",
        )),
        None => Some(nft(
            "the kernel does not say whether its driver has XDP: --block xdp says at its start",
        )),
    }
}
