//! What an outbox holds, for the next process.

use super::{NewConnection, Outbox, Way};
use crate::log::event::Event;
use crate::log::fold::Folds;
use crate::shedding::Spans;
use crate::snapshot::{Layout, List as _, Snapshot as _, misfit};
use std::io::{self, Read, Write};

impl Outbox {
    /// Writes the events that it holds, the open folds, and how far its events were published.
    ///
    /// # Errors
    ///
    /// As `to`.
    pub fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        self.attempts.save_list(to)?;
        self.others.save_list(to)?;
        self.folds_held.save(to)?;
        self.shed.save(to)?;
        let bound = match &self.log {
            Some(Way::Queue(queue)) => queue.bound(),
            _ => 0,
        };
        bound.save(to)?;
        self.folds.is_some().save(to)?;
        self.folds.as_ref().map_or(Ok(()), |folds| folds.save(to))
    }

    /// Reads what [`Outbox::save`] wrote.
    ///
    /// # Errors
    ///
    /// As `from`, or there is no room.
    pub fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.attempts.restore_list(from)?;
        self.others.restore_list(from)?;
        self.folds_held.restore(from)?;
        self.shed.restore(from)?;
        let (mut bound, mut folds) = (0, false);
        bound.restore(from)?;
        folds.restore(from)?;
        if let Some(queue) = self.queue() {
            queue.publish_below(bound);
        }
        match &mut self.folds {
            Some(own) if folds => own.restore(from),
            None if !folds => Ok(()),
            _ => Err(misfit("attempts are folded elsewhere")),
        }
    }

    /// Adds names and types of what [`Outbox::save`] writes.
    pub fn layout(layout: &mut Layout) {
        <(NewConnection, Event, u64)>::layout(layout);
        Spans::layout(layout);
        Folds::layout(layout);
    }

    /// Pushes events again that another process found in the queue to the logger.
    ///
    /// # Errors
    ///
    /// The queue has no room.
    pub fn requeue(&mut self, events: Vec<Event>) -> io::Result<()> {
        let Some(queue) = self.queue() else {
            return Err(misfit("events for a logger on another thread"));
        };
        let full = |_| misfit("more events than a queue holds");
        (events.into_iter()).try_for_each(|event| queue.push(event).map_err(full))
    }
}
