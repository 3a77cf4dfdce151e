//! What happens to interfaces and addresses while we watch.

use super::Run;
use crate::capture::nic::{self, LinkEvent, Selection};
use crate::live::LiveGroup;
use crate::locality::Localities;
use std::sync::{Arc, PoisonError};

impl Run<'_> {
    pub(super) fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::AddressAdded { address, .. } => {
                self.renew(|localities| localities.add(address))
            }
            LinkEvent::AddressRemoved { address, .. } => {
                self.renew(|localities| localities.remove(address))
            }
            LinkEvent::Up { ifindex, name } if self.has(ifindex) => {
                self.say("link_up", format!("{name} is up"))
            }
            LinkEvent::Down { ifindex, name } if self.has(ifindex) => {
                self.say(
                    "link_down",
                    format!("{name} is down: nothing is seen there until it is up"),
                );
            }
            LinkEvent::Renamed { ifindex, from, to } if self.has(ifindex) => {
                self.say(
                    "link_renamed",
                    format!("{from} is now {to}; it is watched on"),
                );
            }
            LinkEvent::Removed { ifindex, name } if self.has(ifindex) => {
                self.say(
                    "link_removed",
                    format!("{name} is gone; watched again when it comes back"),
                );
            }
            LinkEvent::Created { name, .. } => self.rebuild(&name),
            _ => {}
        }
    }

    fn has(&self, ifindex: u32) -> bool {
        self.groups.iter().any(|group| group.ifindex == ifindex)
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

    /// The interface is back with another index: its sockets never recover, so the whole group is new.
    fn rebuild(&mut self, name: &str) {
        let Some(at) = self.groups.iter().position(|group| group.name == name) else {
            return;
        };
        let Ok(Selection { interfaces, .. }) = nic::resolve(name) else {
            return;
        };
        let Some(nic) = interfaces
            .into_iter()
            .find(|nic| nic.ifindex != self.groups[at].ifindex)
        else {
            return;
        };
        let interface = self.groups[at].interface;
        match LiveGroup::open(self.config, &self.keys.fanout, &nic, interface) {
            Ok((mut group, rings)) => {
                if let Some(counters) = &mut self.nic_counters {
                    counters.replace(self.groups[at].ifindex, nic.ifindex);
                }
                for ((to_rings, _), rings) in self.to_workers.iter().zip(rings) {
                    for ring in rings {
                        let _ = to_rings.send(ring);
                    }
                }
                if let Err(error) = group.open_gate(self.config) {
                    self.say(
                        "link_failed",
                        format!("{name} is back but cannot be watched: {error}"),
                    );
                }
                let old = std::mem::replace(&mut self.groups[at], group);
                old.abandon();
                self.gone.push(old);
                self.say("link_back", format!("{name} is back and watched again"));
            }
            Err(error) => self.say(
                "link_failed",
                format!("{name} is back but cannot be watched: {error}"),
            ),
        }
    }
}
