//! How far the outputs are, for the next process.

use super::{Output, Outputs};
use crate::books::output::LogCounts;
use crate::books::record_kind::{EventKind, KINDS};
use crate::log::merge::SHARD_KINDS;
use crate::log::reached::Reached;
use crate::log::sinks::Carried;
use crate::snapshot::misfit;
use std::io;

/// Counts of one output, for the next process: nothing is pending.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct OutputProgress {
    name: String,
    folded: [u64; KINDS],
    folding: u64,
    not_asked: [u64; KINDS],
    queue_full: [u64; KINDS],
    carried: Carried,
}

/// How far the outputs are, for the next process.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct OutputsProgress {
    each: Vec<OutputProgress>,
    offered: [u64; KINDS],
    queue_full: [u64; SHARD_KINDS],
    own: [u64; KINDS],
    folds: LogCounts,
    reached: Reached,
}

impl Output {
    fn progress(&self) -> OutputProgress {
        OutputProgress {
            name: self.spec.name(),
            folded: self.folded,
            folding: self.folding,
            not_asked: self.not_asked,
            queue_full: self.queue_full,
            carried: self.carried(),
        }
    }

    fn go_on(&mut self, progress: OutputProgress) {
        (self.folded, self.folding) = (progress.folded, progress.folding);
        self.not_asked = progress.not_asked;
        (self.queue_full, self.before) = (progress.queue_full, progress.carried);
    }

    /// So many attempts lie in an open fold: it writes them if it asks for connections now, whatever it asked for before.
    fn count_open_fold(&mut self, held: u64) -> io::Result<()> {
        let not_asked = &mut self.not_asked[EventKind::Connection as usize];
        let all = not_asked.wrapping_add(self.folding);
        self.folding = match self.spec.events.has(EventKind::Connection) {
            true => held,
            false => 0,
        };
        let rest = all.checked_sub(self.folding);
        *not_asked = rest.ok_or_else(|| misfit("an open fold is in no book"))?;
        Ok(())
    }
}

impl Outputs {
    /// How far they are, without those that a reload has removed. After [`Outputs::finish`].
    pub fn progress(&self) -> OutputsProgress {
        let open = self.outputs.iter().filter(|output| !output.is_removed());
        OutputsProgress {
            each: open.map(Output::progress).collect(),
            offered: self.offered,
            queue_full: self.queue_full,
            own: self.own,
            folds: self.folds,
            reached: self.reached,
        }
    }

    /// Goes on where the outputs of another process were, each where that of its name was. One that the other process did
    /// not have has missed what there was so far. `held`: attempts in a fold that is open still.
    ///
    /// # Errors
    ///
    /// The books of an output do not hold the open fold.
    pub fn go_on(&mut self, progress: &OutputsProgress, held: u64) -> io::Result<()> {
        let mut left = progress.each.clone();
        for output in &mut self.outputs {
            let name = output.spec.name();
            match left.iter().position(|one| one.name == name) {
                Some(at) => output.go_on(left.remove(at)),
                None => output.not_asked = progress.offered,
            }
            output.count_open_fold(held)?;
        }
        (self.offered, self.queue_full) = (progress.offered, progress.queue_full);
        (self.own, self.folds, self.reached) = (progress.own, progress.folds, progress.reached);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;
    use crate::books::output::OutputCounts;
    use crate::log::event::Body;
    use crate::log::fold::Folds;
    use crate::log::formats::samples;
    use crate::log::outputs::changes::OutputChanges;
    use crate::log::reached::LogTime;

    #[test]
    fn outputs_of_another_process_go_on_by_name_and_all_books_close() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = |all: &[(&str, &str)]| {
            let spec = |&(name, events): &(&str, &str)| {
                let path = dir.path().join(name);
                let text = format!("eve:{},events={events}", path.display());
                text.parse().expect("a spec")
            };
            let specs: Vec<_> = all.iter().map(spec).collect();
            Outputs::open(&specs, &context()).expect("open")
        };
        let mut folds = Folds::new(0, [1, 2]);
        let Body::NewConnection(attempt) = samples::connection().body else {
            panic!("a new connection");
        };
        (0..5).for_each(|_| assert!(folds.takes(attempt)));
        let fold = Box::new(folds.close_all().pop().expect("a fold"));
        let due = LogTime::packet(samples::TS_NS);
        let mut old = open(&[
            ("removed", "flow"),
            ("stays", "connection"),
            ("asks", "flow"),
            ("asks-no-more", "connection"),
        ]);
        old.write(&samples::connection(), due, 0);
        old.change(
            OutputChanges {
                removed: vec![0],
                asked: Vec::new(),
                added: Vec::new(),
                context: context(),
            },
            0,
        );
        old.hold_folded(fold.count);
        old.finish(0);
        let progress = old.progress();
        drop(old);
        let error = open(&[("stays", "connection")]).go_on(&progress, 6);
        assert!(error.is_err(), "there are five");
        let mut new = open(&[
            ("new", "connection+flow"),
            ("asks-no-more", "flow"),
            ("asks", "connection"),
            ("stays", "connection"),
        ]);
        new.go_on(&progress, fold.count).expect("its books");
        assert!(new.counts().iter().all(OutputCounts::closed));
        let count = fold.count;
        new.write_fold(fold, 9, due, 0);
        new.write(&samples::connection(), due, 0);
        new.finish(0);
        let connection = EventKind::Connection as usize;
        let counts = new.counts();
        for (of, (written, folded)) in [(1, count), (1, 0), (1, count), (2, count)]
            .into_iter()
            .enumerate()
        {
            let one = &counts[of];
            assert!(one.closed() && one.pending == [0; KINDS], "{one:?}");
            assert_eq!(
                (one.written[connection], one.folded[connection]),
                (written, folded)
            );
        }
    }
}
