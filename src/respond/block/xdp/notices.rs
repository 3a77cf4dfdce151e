//! Incidents as sentences for an operator.

use crate::respond::block::helper::Incident;
use crate::respond::block::helper::notices::{MALFORMED, blocked, let_in, words};

/// The sentence for an incident.
pub fn sentence(incident: Incident) -> String {
    match incident {
        Incident::Adopted(elements) => format!(
            "the XDP maps of an earlier run were taken over with {}",
            blocked(elements)
        ),
        Incident::Repaired(elements) => format!(
            "the XDP maps could not be read and were opened again with {}",
            blocked(elements)
        ),
        Incident::Unbuilt(errno) => format!(
            "the kernel refuses the XDP maps ({}): nothing new is blocked; tried again every 5 s",
            words(errno)
        ),
        Incident::Owned(elements) => let_in(elements),
        Incident::Malformed => MALFORMED.to_owned(),
        Incident::NotRemoved(errno) => format!(
            "names of the XDP maps or links could not be removed ({}): remove /sys/fs/bpf/synledger",
            words(errno)
        ),
        Incident::Foreign | Incident::NoOwner => {
            "objects that are not of this program are in /sys/fs/bpf/synledger: nothing is blocked until they are \
             removed"
                .to_owned()
        }
    }
}
