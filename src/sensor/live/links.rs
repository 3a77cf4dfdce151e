//! What happens to interfaces and addresses while we watch.

use super::Run;
use super::pace::Pace;
use crate::host::addresses::Localities;
use crate::host::nic::{self, LinkEvent};
use crate::observe::losses::Reason;
use crate::sensor::group::{LinkState, LiveGroup};
use crate::time::clock::monotonic_ns;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// How often standard error hears of each watched interface, by its index in the run, and of all others together.
pub(super) type LinkPaces = BTreeMap<Option<u16>, Pace>;

impl Run<'_> {
    /// Logs a change at a watched interface, or at one that is not (`None`), and tells the person at the terminal
    /// unless it flaps.
    fn say_link(&mut self, interface: Option<u16>, word: &'static str, text: String) {
        self.say(word, text.clone());
        let now_ns = monotonic_ns();
        let pace = self.link_paces.entry(interface);
        let line = pace
            .or_insert_with(|| Pace::new(now_ns))
            .offer(text, now_ns);
        self.tell_link(line);
    }

    fn tell_link(&self, line: Option<String>) {
        if let Some(line) = line {
            self.tell(&format!("synledger: {line}\n"));
        }
    }

    /// Tells what was held back and may be told now.
    pub(super) fn tell_due_links(&mut self) {
        let now_ns = monotonic_ns();
        let due: Vec<_> = self
            .link_paces
            .values_mut()
            .map(|pace| pace.due(now_ns))
            .collect();
        due.into_iter().for_each(|line| self.tell_link(line));
    }

    /// Tells what was held back: the run ends.
    pub(super) fn tell_all_links(&mut self) {
        let rest: Vec<_> = self.link_paces.values_mut().map(Pace::rest).collect();
        rest.into_iter().for_each(|line| self.tell_link(line));
    }

    pub(super) fn on_link(&mut self, event: LinkEvent) {
        if let LinkEvent::Up { ifindex, .. }
        | LinkEvent::Down { ifindex, .. }
        | LinkEvent::Removed { ifindex, .. } = event
        {
            self.excuse_link(ifindex);
        }
        match event {
            LinkEvent::AddressAdded { address, .. } => {
                self.renew(|localities| localities.add(address))
            }
            LinkEvent::AddressRemoved { address, .. } => {
                self.renew(|localities| localities.remove(address))
            }
            LinkEvent::Up { ifindex, name } if self.watched(ifindex).is_some() => {
                self.note_link(ifindex, LinkState::Up);
                let text = format!("{name} is up");
                self.say_link(self.watched(ifindex), "link_up", text);
            }
            LinkEvent::Down { ifindex, name } if self.watched(ifindex).is_some() => {
                self.note_link(ifindex, LinkState::Down);
                let text = format!("{name} is down: nothing is seen there until it is up");
                self.say_link(self.watched(ifindex), "link_down", text);
            }
            LinkEvent::Renamed { ifindex, from, to } => self.on_renamed(ifindex, &from, &to),
            LinkEvent::Removed { ifindex, name } => self.on_removed(ifindex, &name),
            LinkEvent::Created { ifindex, name, .. } => {
                if !self.rebuild(&name) && self.watched(ifindex).is_none() {
                    self.say_unwatched(ifindex, &name);
                }
            }
            LinkEvent::Up { name, .. } => {
                self.rebuild(&name);
            }
            LinkEvent::Down { .. } => {}
        }
    }

    /// Sockets leave an interface and come back to it one by one: the witness's and the others do not see the
    /// same meanwhile.
    fn excuse_link(&mut self, ifindex: u32) {
        let Some(witness) = &mut self.witness else {
            return;
        };
        for group in self.groups.iter().filter(|group| group.ifindex == ifindex) {
            witness.on_link_change(group.interface);
        }
    }

    /// The index in the run of an interface that is watched now.
    fn watched(&self, ifindex: u32) -> Option<u16> {
        let own = |group: &&LiveGroup| !group.is_gone() && group.ifindex == ifindex;
        self.groups.iter().find(own).map(|group| group.interface)
    }

    fn note_link(&mut self, ifindex: u32, link: LinkState) {
        let own = |group: &&mut LiveGroup| !group.is_gone() && group.ifindex == ifindex;
        for group in self.groups.iter_mut().filter(own) {
            group.link = link;
        }
    }

    /// Interfaces from which nothing can come now, though something is expected: those that were up, and all of
    /// them while none is.
    pub(super) fn unseen(&self) -> Vec<(Reason, String)> {
        let none_up = self.groups.iter().all(|group| group.link != LinkState::Up);
        let says = |group: &LiveGroup| {
            let is = match group.link {
                LinkState::Gone { .. } => "gone",
                LinkState::Down => "down",
                LinkState::Idle if none_up => "down",
                LinkState::Up | LinkState::Idle => return None,
            };
            let text = format!("{} is {is}: nothing is seen there", group.name);
            Some((Reason::Link, text))
        };
        self.groups.iter().filter_map(says).collect()
    }

    /// How long interfaces were gone and not yet watched again, all of them together.
    pub(super) fn unwatched_us(&self) -> u64 {
        let now_ns = monotonic_ns();
        let now = self.groups.iter().map(|group| unwatched_us(group, now_ns));
        self.unwatched_us + now.sum::<u64>()
    }

    fn on_renamed(&mut self, ifindex: u32, from: &str, to: &str) {
        let interface = self.watched(ifindex);
        if interface.is_none() {
            // Perhaps one that is missed comes back under its name only now.
            self.rebuild(to);
            return;
        }
        for group in self.groups.iter_mut().filter(|g| g.ifindex == ifindex) {
            group.rename(to);
            self.names.rename(group.interface, to);
        }
        let text = format!("{from} is now {to}; it is watched on");
        self.say_link(interface, "link_renamed", text);
    }

    fn on_removed(&mut self, ifindex: u32, name: &str) {
        let interface = self.watched(ifindex);
        if interface.is_none() {
            return;
        }
        let since_ns = monotonic_ns();
        let idle = |group: &LiveGroup| group.ifindex == ifindex && group.link == LinkState::Idle;
        let was_up = !self.groups.iter().any(idle);
        self.note_link(ifindex, LinkState::Gone { since_ns, was_up });
        let text = format!("{name} is gone; watched again when it comes back");
        self.say_link(interface, "link_removed", text);
    }

    /// A new interface that `-i` would have chosen: memory was taken at the start, for those that were there.
    fn say_unwatched(&mut self, ifindex: u32, name: &str) {
        let chosen = nic::resolve(&self.config.interfaces.join(","));
        if chosen.is_ok_and(|chosen| chosen.interfaces.iter().any(|nic| nic.ifindex == ifindex)) {
            let text = format!(
                "{name} is new and -i means it, too; it is not watched: start synledger again"
            );
            self.say_link(None, "link_unwatched", text);
        }
    }

    fn renew(&self, change: impl FnOnce(&mut Localities)) {
        let mut ours = self
            .localities
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ours));
        for (_, localities) in &self.to_workers {
            let _ = localities.send(Arc::clone(&ours));
        }
    }

    /// Interfaces that are missed, tried again: one may be there without having said so.
    pub(super) fn rebuild_gone(&mut self) {
        let gone = self.groups.iter().filter(|group| group.is_gone());
        let names: Vec<String> = gone.map(|group| group.name.clone()).collect();
        for name in names {
            self.rebuild(&name);
        }
    }

    /// Watches an interface that was missed and is back. Its sockets never recover, so the whole group is
    /// new. True if one of that name was missed.
    fn rebuild(&mut self, name: &str) -> bool {
        let missed = |group: &LiveGroup| group.is_gone() && group.name == name;
        let Some(at) = self.groups.iter().position(missed) else {
            return false;
        };
        let interface = Some(self.groups[at].interface);
        match self.reopen(at) {
            Ok(true) => {
                let down = match self.groups[at].link {
                    LinkState::Up => "",
                    _ => ", but down: nothing is seen there until it is up",
                };
                let text = format!("{name} is back and watched again{down}");
                self.say_link(interface, "link_back", text);
            }
            Ok(false) => {}
            Err(why) => {
                let group = &mut self.groups[at];
                // Tried once a second: the same trouble is said once.
                if group.trouble.as_ref() != Some(&why) {
                    group.trouble = Some(why.clone());
                    let text = format!("{name} is back but cannot be watched yet: {why}");
                    // No flap holds back that something is wrong.
                    self.tell(&format!("synledger: {text}\n"));
                    self.say("link_failed", text);
                }
            }
        }
        true
    }

    /// Puts a new group in the place of a lost one; false while there is no such interface.
    fn reopen(&mut self, at: usize) -> Result<bool, String> {
        let LiveGroup {
            name, ifindex: old, ..
        } = &self.groups[at];
        let (old, all) = (*old, nic::list().map_err(|error| error.to_string())?);
        // One that was watched all the time may have taken the name.
        let free = |nic: &nic::Interface| self.watched(nic.ifindex).is_none();
        let Some(nic) = all.into_iter().find(|nic| nic.name == *name && free(nic)) else {
            return Ok(false);
        };
        if nic.link.is_none() {
            return Err(format!("its type ({}) cannot be read", nic.arphrd));
        }
        let interface = self.groups[at].interface;
        let opened = LiveGroup::open(self.config, &self.keys.fanout, &nic, interface);
        let (mut group, rings) = opened.map_err(|error| error.to_string())?;
        if let (LinkState::Idle, LinkState::Gone { was_up: true, .. }) =
            (group.link, self.groups[at].link)
        {
            group.link = LinkState::Down;
        }
        group.open_gate().map_err(|error| error.to_string())?;
        if let Some(witness) = &mut self.witness {
            witness.reopen(&nic, interface)?;
        }
        if let Some(counters) = &mut self.nic_counters {
            counters.replace(old, nic.ifindex);
        }
        for ((to_rings, _), rings) in self.to_workers.iter().zip(rings) {
            for ring in rings {
                let _ = to_rings.send(ring);
            }
        }
        self.unwatched_us += unwatched_us(&self.groups[at], monotonic_ns());
        let gone = std::mem::replace(&mut self.groups[at], group);
        gone.abandon();
        self.gone.push(gone);
        Ok(true)
    }
}

fn unwatched_us(group: &LiveGroup, now_ns: i64) -> u64 {
    match group.link {
        LinkState::Gone { since_ns, .. } => now_ns.saturating_sub(since_ns).unsigned_abs() / 1000,
        _ => 0,
    }
}
