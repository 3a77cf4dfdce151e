//! What remains of the sink of an output that a reload has removed: its counts.

use super::descriptor::OpenError;
use super::lines::Patience;
use super::recovery::Recovery;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::Cause;

/// Takes no record; its output asks for none.
pub struct Gone(pub Carried);

impl Sink for Gone {
    fn admit(&mut self, _: Entry, _: Moment) -> Option<&mut Vec<u8>> {
        None
    }

    fn commit(&mut self, _: Entry, _: Moment) -> bool {
        false
    }

    fn flush(&mut self, _: Moment) {}

    fn finish(&mut self, _: Moment) {}

    fn close(&mut self, _: Moment) {}

    fn reopen(&mut self, _: Moment) -> Result<(), OpenError> {
        Ok(())
    }

    fn set_patience(&mut self, _: Patience) {}

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    fn blocked(&self) -> Option<Cause> {
        None
    }

    fn carried(&self) -> Carried {
        self.0
    }
}
