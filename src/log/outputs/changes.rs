//! Outputs that a reload adds, removes, or has ask for other records.

use super::{Context, Output, Outputs};
use crate::log::notice::Notice;
use crate::log::sinks::gone::Gone;
use crate::log::sinks::spec::{EventSet, OutputSpec};
use crate::log::sinks::{Moment, Sink};
use std::fmt;

/// What changes. Outputs have numbers in the order in which they were opened, from 0; one that is removed keeps its own.
pub struct OutputChanges {
    /// Numbers of those that are removed.
    pub removed: Vec<usize>,
    /// Those that ask for other records from now on.
    pub asked: Vec<(usize, EventSet)>,
    /// New ones, open.
    pub added: Vec<(OutputSpec, Box<dyn Sink>)>,
    /// For the formats of new ones.
    pub context: Context,
}

impl OutputChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.asked.is_empty() && self.added.is_empty()
    }
}

impl fmt::Debug for OutputChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added: Vec<String> = self.added.iter().map(|(spec, _)| spec.name()).collect();
        f.debug_struct("OutputChanges")
            .field("removed", &self.removed)
            .field("asked", &self.asked)
            .field("added", &added)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Whether a reload has removed it.
    pub(super) fn is_removed(&self) -> bool {
        self.spec.events == EventSet::of(&[])
    }

    /// Writes what its sink takes at once, drops the rest, closes it, and asks for nothing any more: its books stay, and
    /// close as before.
    fn remove(&mut self, at: Moment) {
        self.sink.close(at);
        self.sink = Box::new(Gone(self.sink.carried()));
        self.spec.events = EventSet::of(&[]);
    }
}

impl Outputs {
    /// Puts changes in force. No fold may be open: its attempts are counted by what an output asked for.
    pub fn change(&mut self, changes: OutputChanges, now_ns: i64) {
        let at = self.moment(now_ns);
        let mut notices = Vec::new();
        for (place, events) in changes.asked {
            self.outputs[place].spec.events = events;
        }
        for place in changes.removed {
            self.outputs[place].remove(at);
            self.archive.forget(place);
            let books = &self.books()[place];
            let (name, written, dropped) = (&books.name, books.written(), books.dropped());
            let text = format!("{name} was removed: {written} written, {dropped} dropped");
            notices.push(("output_removed", text));
        }
        for (spec, sink) in changes.added {
            notices.push(("output_added", format!("{} was added", spec.name())));
            self.add(spec, sink, &changes.context);
            let added = self.outputs.last_mut().expect("just added");
            added.not_asked = self.offered;
        }
        for (word, text) in notices {
            let notice = Notice::Lifecycle {
                ts_ns: now_ns,
                word,
                text,
                details: Vec::new(),
            };
            self.own_notice(&notice, now_ns);
        }
    }
}
