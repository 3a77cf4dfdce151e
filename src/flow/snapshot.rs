//! The connection state, for the next process.

use super::Flows;
use crate::snapshot::snapshot;

snapshot! {
    [] Flows;
    values: attempts, established, others, fragments, early, counts, now_ns, swept, wraps_ns, prepared;
    lists: preexisting;
    fixed: hasher, by_vlan, behind_max;
}
