//! Changes of interfaces and addresses during a run.

use super::groups::Groups;
use super::link_lines::LinkLines;
use super::surroundings::HostWatch;
use super::witness::Watching;
use super::workers::Workers;
use crate::host::addresses::Localities;
use crate::host::nic::{self, LinkEvent, Watch};
use crate::log::formats::interfaces::Interfaces;
use crate::sensor::group::{LinkState, LiveGroup};
use crate::sensor::logging::SharedLocalities;
use crate::sensor::worker::Change;
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;
use std::sync::{Arc, PoisonError};

/// Time that a new interface has to get its name.
const NEWCOMER_NS: i64 = 1_000_000_000;

/// The interfaces of a run, kept up to date by netlink.
pub(super) struct Links<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) watch: Watch,
    pub(super) groups: Groups<'a>,
    pub(super) names: Interfaces,
    pub(super) localities: SharedLocalities,
    pub(super) lines: LinkLines,
    pub(super) surroundings: HostWatch,
}

impl Links<'_> {
    /// Handles all netlink events since the last call.
    pub(super) fn handle_events(
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
        self.surroundings.set_due();
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
                    // An awaited interface may get its name only now.
                    self.reopen(&to, workers, witness);
                }
            }
            LinkEvent::Removed { ifindex, name } => self.on_removed(ifindex, &name),
            LinkEvent::Created { ifindex, name, .. } => {
                let was_awaited = self.reopen(&name, workers, witness);
                if !was_awaited && self.groups.watched(ifindex).is_none() {
                    self.lines.newcomers.insert(ifindex, monotonic_ns());
                }
            }
            LinkEvent::Up { name, .. } => {
                self.reopen(&name, workers, witness);
            }
            LinkEvent::Down { .. } => {}
        }
    }

    fn report(&mut self, ifindex: u32, word: &'static str, text: String) {
        self.lines.report(self.groups.watched(ifindex), word, text);
    }

    /// Sockets leave and re-join an interface one by one: sensor and witness see different frames meanwhile.
    fn excuse(&self, ifindex: u32, witness: &mut Watching) {
        let own = |group: &&LiveGroup| group.ifindex == ifindex;
        for group in self.groups.current().iter().filter(own) {
            witness.grants.link_changed(group.interface);
        }
    }

    /// Returns whether the interface is watched.
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
        self.lines.newcomers.remove(&ifindex);
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

    /// Reports new interfaces that `-i` would have chosen: rings were reserved at the start, for those of that time.
    ///
    /// Each has a second to get its name, and to turn out to be a removed one that comes back.
    pub(super) fn report_newcomers(&mut self) {
        let now_ns = monotonic_ns();
        let is_due = |since_ns: i64| now_ns.saturating_sub(since_ns) >= NEWCOMER_NS;
        if !self
            .lines
            .newcomers
            .values()
            .any(|&since_ns| is_due(since_ns))
        {
            return;
        }
        let chosen = nic::resolve(&self.config.interfaces.join(","));
        let chosen = chosen.map_or_else(|_| Vec::new(), |chosen| chosen.interfaces);
        let all = self.lines.newcomers.iter();
        let due = all.filter_map(|(&ifindex, &since_ns)| is_due(since_ns).then_some(ifindex));
        let due: Vec<u32> = due.collect();
        self.lines
            .newcomers
            .retain(|_, since_ns| !is_due(*since_ns));
        for nic in chosen.iter().filter(|nic| due.contains(&nic.ifindex)) {
            if self.groups.watched(nic.ifindex).is_none() && !self.is_awaited(&nic.name) {
                let name = &nic.name;
                let text = format!(
                    "{name} is new and -i means it, too; it is not watched: start synledger again"
                );
                self.lines.report(None, "link_unwatched", text);
            }
        }
    }

    /// Whether a removed interface had this name.
    fn is_awaited(&self, name: &str) -> bool {
        let mut groups = self.groups.current().iter();
        groups.any(|group| group.is_gone() && group.name == name)
    }

    /// Changes the localities of the log and of every worker.
    fn renew(&self, workers: &Workers<'_>, change: impl FnOnce(&mut Localities)) {
        let mut ours = self
            .localities
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ours));
        workers.send(&Change::Localities(Arc::clone(&ours)));
    }

    /// Tries to reopen every removed interface: its netlink event may have been lost.
    pub(super) fn reopen_gone(
        &mut self,
        workers: &Workers<'_>,
        mut witness: Option<&mut Watching>,
    ) {
        let gone = self.groups.current().iter().filter(|group| group.is_gone());
        let names: Vec<String> = gone.map(|group| group.name.clone()).collect();
        for name in names {
            self.reopen(&name, workers, witness.as_deref_mut());
        }
    }

    /// Reopens a removed interface if it is back. Returns whether one of that name was removed.
    fn reopen(
        &mut self,
        name: &str,
        workers: &Workers<'_>,
        witness: Option<&mut Watching>,
    ) -> bool {
        let gone = |group: &LiveGroup| group.is_gone() && group.name == name;
        let Some(at) = self.groups.current().iter().position(gone) else {
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
                // Tried once a second: report the same error once.
                if group.trouble.as_ref() != Some(&why) {
                    let text = format!("{name} is back but cannot be watched yet: {why}");
                    group.trouble = Some(why);
                    self.lines.messenger.report("link_failed", text);
                }
            }
        }
        true
    }
}
