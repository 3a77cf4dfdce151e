//! The groups of all interfaces, from one process to the next.

use super::{Groups, RingsByWorker};
use crate::capture::bpf::fanout::Keys;
use crate::error::Failure;
use crate::host::nic;
use crate::sensor::group::LiveGroup;
use crate::sensor::live::handover::state::GroupsState;
use crate::sensor::live::handover::take::Inherited;
use crate::settings::RunConfig;

impl<'a> Groups<'a> {
    /// Opens the groups behind closed gates, or goes on with those of another process; also returns the rings of each
    /// worker.
    pub(in crate::sensor::live) fn open_or_adopt(
        config: &'a RunConfig,
        keys: Keys,
        nics: &[nic::Interface],
        inherited: Option<&mut Inherited>,
    ) -> Result<(Self, RingsByWorker), Failure> {
        match inherited {
            Some(inherited) => Self::adopt(config, nics, inherited),
            None => Self::open(config, keys, nics),
        }
    }

    fn adopt(
        config: &'a RunConfig,
        nics: &[nic::Interface],
        inherited: &mut Inherited,
    ) -> Result<(Self, RingsByWorker), Failure> {
        let (keys, places) = (inherited.state.keys.fanout, inherited.places());
        let state = &inherited.state.groups;
        let mut left = state.each.iter().cloned().zip(inherited.sockets.drain(..));
        let (mut groups, rings) = Self::collect(config, keys, nics, |nic, interface| {
            let another = || Failure::run("another number of interfaces was handed over");
            let (group, sockets) = left.next().ok_or_else(another)?;
            LiveGroup::adopt(config, &keys, (nic, interface), group, sockets, &places)
                .map_err(Failure::run)
        })?;
        groups.closed_rings = state.closed();
        groups.closed_filtered = state.closed_filtered;
        groups.before = state.host();
        Ok((groups, rings))
    }

    /// What another process needs to go on with them, beside their sockets.
    pub(in crate::sensor::live) fn state(&self) -> GroupsState {
        let each = self.current.iter().map(LiveGroup::state).collect();
        GroupsState::new(
            each,
            &self.closed_rings,
            self.closed_filtered,
            self.host_counts(),
        )
    }

    /// Why another process cannot go on with them now.
    pub(in crate::sensor::live) fn cannot_hand_over(&self) -> Option<String> {
        let gone = self.current.iter().find(|group| group.is_gone());
        gone.map(|group| format!("{} is gone", group.name))
            .or_else(|| {
                (!self.replaced.is_empty()).then(|| "an interface has just come back".to_owned())
            })
    }

    /// Leaves all sockets to another process.
    pub(in crate::sensor::live) fn leave(&self) {
        self.current.iter().for_each(LiveGroup::leave);
    }
}
