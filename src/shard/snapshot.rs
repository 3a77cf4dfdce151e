//! A shard's state, for the next process.

use super::Shard;
use super::outbox::Outbox;
use crate::books::shard::ShardCounts;
use crate::flow::Flows;
use crate::inspect::Detectors;
use crate::inspect::contact::Contact;
use crate::snapshot::{Layout, Snapshot};
use std::io::{self, Read, Write};

impl Shard {
    /// Writes all that lives on, between two batches of frames. Meanwhile no shard may send it contacts.
    ///
    /// # Errors
    ///
    /// As `to`.
    ///
    /// # Panics
    ///
    /// If packets are pending: [`Shard::publish_contacts`] comes first.
    pub fn save(&mut self, to: &mut dyn Write) -> io::Result<()> {
        assert_eq!(self.held, 0, "a batch is pending");
        self.placement.others.save(to)?;
        self.owners.mesh.inbound().save(to)?;
        self.owners.mesh.save(to)?;
        self.flows.save(to)?;
        self.detectors.save(to)?;
        self.outbox.save(to)?;
        self.counts.save(to)
    }

    /// Reads what [`Shard::save`] wrote, into a shard with the same number, keys, room and rules that has seen nothing
    /// yet. Returns the contacts that each shard had sent to it: for [`Shard::resend`].
    ///
    /// # Errors
    ///
    /// As `from`, or it does not fit. The shard must not be used then.
    pub fn restore(&mut self, from: &mut dyn Read) -> io::Result<Vec<Vec<Contact>>> {
        let mut inbound = Vec::new();
        self.placement.others.restore(from)?;
        Snapshot::restore(&mut inbound, from)?;
        self.owners.mesh.restore(from)?;
        self.flows.restore(from)?;
        self.detectors.restore(from)?;
        self.outbox.restore(from)?;
        self.counts.restore(from)?;
        Ok(inbound)
    }

    /// Sends contacts to another shard again.
    ///
    /// # Errors
    ///
    /// There is no such shard, or no room.
    pub fn resend(&mut self, owner: usize, contacts: Vec<Contact>) -> io::Result<()> {
        self.owners.mesh.resend(owner, contacts)
    }

    /// Adds names and types of what [`Shard::save`] writes.
    pub fn layout(layout: &mut Layout) {
        <(u32, Contact, u64)>::layout(layout);
        Flows::layout(layout);
        Detectors::layout(layout);
        Outbox::layout(layout);
        ShardCounts::layout(layout);
    }
}
