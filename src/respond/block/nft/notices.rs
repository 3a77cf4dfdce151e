//! Incidents as sentences for an operator.

use crate::respond::block::helper::Incident;
use crate::respond::block::helper::notices::{MALFORMED, blocked, let_in, words};

/// The sentence for an incident.
pub fn sentence(incident: Incident) -> String {
    match incident {
        Incident::NoOwner => {
            "this kernel does not protect the table inet synledger (needs Linux 6.9 or later): other programs can \
             change it; it is watched, and built again when they do"
                .to_owned()
        }
        Incident::Adopted(elements) => format!(
            "the table inet synledger of an earlier run was taken over with {}",
            blocked(elements)
        ),
        Incident::Repaired(elements) => format!(
            "another program removed or changed the table inet synledger: it was built again with {}",
            blocked(elements)
        ),
        Incident::Unbuilt(errno) => format!(
            "nftables refuses the table inet synledger ({}): nothing new is blocked; tried again every 5 s{}",
            words(errno),
            hint(errno)
        ),
        Incident::Foreign => {
            "nftables has a table inet synledger that is not of this program: nothing is blocked until it is \
             removed or renamed (nft list table inet synledger)"
                .to_owned()
        }
        Incident::Owned(elements) => let_in(elements),
        Incident::Malformed => MALFORMED.to_owned(),
        Incident::NotRemoved(errno) => format!(
            "the table inet synledger could not be removed ({}): nft delete table inet synledger",
            words(errno)
        ),
    }
}

fn hint(errno: u32) -> &'static str {
    match errno.cast_signed() {
        libc::EPERM => ". Another process may own it: a second synledger that blocks?",
        libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::ENOENT => {
            ". Does the kernel have nf_tables with the family inet?"
        }
        _ => "",
    }
}
