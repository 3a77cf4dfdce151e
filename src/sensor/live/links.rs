//! What happens to interfaces and addresses while we watch.

use super::groups::Groups;
use super::link_lines::LinkLines;
use super::surroundings::Keeping;
use super::witness::Watching;
use super::workers::Workers;
use crate::host::addresses::Localities;
use crate::host::nic::{self, LinkEvent, Watch};
use crate::log::formats::interfaces::Interfaces;
use crate::sensor::group::{LinkState, LiveGroup};
use crate::sensor::logging::SharedLocalities;
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;
use std::sync::{Arc, PoisonError};

/// The interfaces of a run, as the kernel tells of them.
pub(super) struct Links<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) watch: Watch,
    pub(super) groups: Groups<'a>,
    pub(super) names: Interfaces,
    pub(super) localities: SharedLocalities,
    pub(super) lines: LinkLines,
    /// Of this host, for responders.
    pub(super) surroundings: Keeping,
}

impl Links<'_> {
    /// Takes all that the kernel has told since the last call.
    pub(super) fn take_events(
        &mut self,
        workers: &Workers<'_>,
        mut witness: Option<&mut Watching>,
    ) {
        while let Ok(Some(event)) = self.watch.next_event() {
            self.on_event(event, workers, witness.as_deref_mut());
        }
    }

    fn on_event(
        &mut self,
        event: LinkEvent,
        workers: &Workers<'_>,
        mut witness: Option<&mut Watching>,
    ) {
        self.surroundings.is_due();
        if let LinkEvent::Up { ifindex, .. }
        | LinkEvent::Down { ifindex, .. }
        | LinkEvent::Removed { ifindex, .. } = event
            && let Some(witness) = witness.as_deref_mut()
        {
            self.excuse(ifindex, witness);
        }
        match event {
            LinkEvent::AddressAdded { address, .. } => {
                self.renew(workers, |localities| localities.add(address))
            }
            LinkEvent::AddressRemoved { address, .. } => {
                self.renew(workers, |localities| localities.remove(address))
            }
            LinkEvent::Up { ifindex, name } if self.groups.watched(ifindex).is_some() => {
                self.groups.set_link(ifindex, LinkState::Up);
                self.report(ifindex, "link_up", format!("{name} is up"));
            }
            LinkEvent::Down { ifindex, name } if self.groups.watched(ifindex).is_some() => {
                self.groups.set_link(ifindex, LinkState::Down);
                let text = format!("{name} is down: nothing is seen there until it is up");
                self.report(ifindex, "link_down", text);
            }
            LinkEvent::Renamed { ifindex, from, to } => {
                if !self.on_renamed(ifindex, &from, &to) {
                    // Perhaps one that is missed comes back under its name only now.
                    self.reopen(&to, workers, witness);
                }
            }
            LinkEvent::Removed { ifindex, name } => self.on_removed(ifindex, &name),
            LinkEvent::Created { ifindex, name, .. } => {
                let was_missed = self.reopen(&name, workers, witness);
                if !was_missed && self.groups.watched(ifindex).is_none() {
                    self.report_unwatched(ifindex, &name);
                }
            }
            LinkEvent::Up { name, .. } => {
                self.reopen(&name, workers, witness);
            }
            LinkEvent::Down { .. } => {}
        }
    }

    /// Reports a change at an interface that is watched now.
    fn report(&mut self, ifindex: u32, word: &'static str, text: String) {
        self.lines.report(self.groups.watched(ifindex), word, text);
    }

    /// Sockets leave an interface and come back to it one by one: the witness's and the others do not see the
    /// same meanwhile.
    fn excuse(&self, ifindex: u32, witness: &mut Watching) {
        let own = |group: &&LiveGroup| group.ifindex == ifindex;
        for group in self.groups.current().iter().filter(own) {
            witness.on_link_change(group.interface);
        }
    }

    /// False if it is not watched.
    fn on_renamed(&mut self, ifindex: u32, from: &str, to: &str) -> bool {
        let interface = self.groups.watched(ifindex);
        if interface.is_none() {
            return false;
        }
        let own = |group: &&mut LiveGroup| group.ifindex == ifindex;
        for group in self.groups.current_mut().iter_mut().filter(own) {
            group.rename(to);
            self.names.rename(group.interface, to);
        }
        let text = format!("{from} is now {to}; it is watched on");
        self.lines.report(interface, "link_renamed", text);
        true
    }

    fn on_removed(&mut self, ifindex: u32, name: &str) {
        let interface = self.groups.watched(ifindex);
        if interface.is_none() {
            return;
        }
        let since_ns = monotonic_ns();
        let idle = |group: &LiveGroup| group.ifindex == ifindex && group.link == LinkState::Idle;
        let was_up = !self.groups.current().iter().any(idle);
        self.groups
            .set_link(ifindex, LinkState::Gone { since_ns, was_up });
        let text = format!("{name} is gone; watched again when it comes back");
        self.lines.report(interface, "link_removed", text);
    }

    /// A new interface that `-i` would have chosen: memory was taken at the start, for those that were there.
    fn report_unwatched(&mut self, ifindex: u32, name: &str) {
        let chosen = nic::resolve(&self.config.interfaces.join(","));
        if chosen.is_ok_and(|chosen| chosen.interfaces.iter().any(|nic| nic.ifindex == ifindex)) {
            let text = format!(
                "{name} is new and -i means it, too; it is not watched: start synledger again"
            );
            self.lines.report(None, "link_unwatched", text);
        }
    }

    /// Changes which addresses are ours, for the log and for every worker.
    fn renew(&self, workers: &Workers<'_>, change: impl FnOnce(&mut Localities)) {
        let mut ours = self
            .localities
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ours));
        workers.send_localities(&ours);
    }

    /// Interfaces that are missed, tried again: one may be there without having said so.
    pub(super) fn reopen_missed(
        &mut self,
        workers: &Workers<'_>,
        mut witness: Option<&mut Watching>,
    ) {
        let missed = self.groups.current().iter().filter(|group| group.is_gone());
        let names: Vec<String> = missed.map(|group| group.name.clone()).collect();
        for name in names {
            self.reopen(&name, workers, witness.as_deref_mut());
        }
    }

    /// Watches an interface that was missed and is back. True if one of that name was missed.
    fn reopen(
        &mut self,
        name: &str,
        workers: &Workers<'_>,
        witness: Option<&mut Watching>,
    ) -> bool {
        let missed = |group: &LiveGroup| group.is_gone() && group.name == name;
        let Some(at) = self.groups.current().iter().position(missed) else {
            return false;
        };
        match self.groups.reopen(at, workers, witness) {
            Ok(true) => {
                let group = &self.groups.current()[at];
                let down = match group.link {
                    LinkState::Up => "",
                    _ => ", but down: nothing is seen there until it is up",
                };
                let text = format!("{name} is back and watched again{down}");
                self.lines.report(Some(group.interface), "link_back", text);
            }
            Ok(false) => {}
            Err(why) => {
                let group = &mut self.groups.current_mut()[at];
                // Tried once a second: the same trouble is said once.
                if group.trouble.as_ref() != Some(&why) {
                    let text = format!("{name} is back but cannot be watched yet: {why}");
                    group.trouble = Some(why);
                    self.lines.report_trouble("link_failed", text);
                }
            }
        }
        true
    }
}
