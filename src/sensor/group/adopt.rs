//! A group from one process to the next.

use super::{LiveGroup, Lost, Member, with_group};
use crate::capture::bpf::counted::RejectCounter;
use crate::capture::bpf::fanout::Keys;
use crate::capture::group::Group;
use crate::capture::ring::Reader;
use crate::error::SetupError;
use crate::host::nic::Interface;
use crate::sensor::worker::handover::RingState;
use crate::sensor::worker::ring::LiveRing;
use crate::settings::RunConfig;
use crate::snapshot::misfit;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A group, for another process.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct GroupState {
    members: Vec<MemberState>,
    /// Map and program of a counter come behind the sockets.
    pub has_counter: bool,
    is_counted_elsewhere: bool,
    lost_before: Lost,
}

impl GroupState {
    /// Descriptors of its sockets.
    pub fn sockets(&self) -> usize {
        self.members.len()
    }
}

#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct MemberState {
    tp_packets: u64,
    tp_drops: u64,
    tp_freezes: u64,
    /// Bulk data are filtered out.
    is_narrow: bool,
}

impl LiveGroup {
    /// The group of another process, whose rings are read on from where that one was.
    pub fn adopt(
        config: &RunConfig,
        keys: &Keys,
        (nic, interface): (&Interface, u16),
        state: GroupState,
        (sockets, counter): (Vec<OwnedFd>, Option<Arc<RejectCounter>>),
        places: &BTreeMap<(u16, u32), RingState>,
    ) -> Result<(Self, Vec<Vec<LiveRing>>), SetupError> {
        let opened = with_group(config, keys, nic, interface, |wanted| {
            Group::adopt(wanted, sockets)
        });
        let (group, rings) = opened?;
        let mut readers = Vec::new();
        for (member, ring) in (0..).zip(rings) {
            let place = places
                .get(&(interface, member))
                .ok_or_else(|| misfit("a ring without a place"));
            let reader = place.and_then(|place| {
                Ok((
                    Reader::resume(ring, place.place)?,
                    place.stamps,
                    place.losing_seen,
                ))
            });
            readers
                .push(reader.map_err(|error| SetupError::new("taking over", &*nic.name, error))?);
        }
        let (mut live, mut rings) =
            Self::of_parts(config, nic, interface, (group, readers), |_| counter);
        for (member, before) in live.members.iter_mut().zip(&state.members) {
            member.counts.tp_packets = before.tp_packets;
            member.counts.tp_drops = before.tp_drops;
            member.counts.tp_freezes = before.tp_freezes;
            member.valve.set_opened(before.is_narrow);
            member.view.drops.store(before.tp_drops, Ordering::Relaxed);
        }
        live.lost_before = state.lost_before;
        live.is_counted_elsewhere = state.is_counted_elsewhere;
        for ring in rings.iter_mut().flatten() {
            ring.publish();
        }
        Ok((live, rings))
    }

    /// What another process needs to go on with this group, beside its sockets.
    pub fn state(&self) -> GroupState {
        let member = |member: &Member| MemberState {
            tp_packets: member.counts.tp_packets,
            tp_drops: member.counts.tp_drops,
            tp_freezes: member.counts.tp_freezes,
            is_narrow: member.valve.is_narrow(),
        };
        GroupState {
            members: self.members.iter().map(member).collect(),
            has_counter: self.filtered.is_some(),
            is_counted_elsewhere: self.is_counted_elsewhere,
            lost_before: self.lost_before,
        }
    }

    /// Its sockets, then map and program of its counter of filtered frames.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let sockets = self.group.sockets().iter().map(AsFd::as_fd);
        let counter = self.filtered.iter().flat_map(|counter| counter.fds());
        sockets.chain(counter).collect()
    }

    /// Leaves the sockets to another process.
    pub fn leave(&self) {
        self.group.leave();
    }
}
