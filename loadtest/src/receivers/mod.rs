//! Receivers of a flood: the sensor, the bare reader and the peers, all behind one trait.

pub mod bare;
pub mod peers;
pub mod sensor;

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use crate::lab::process::Usage;

/// What a receiver counted in a run, and what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Frames that it read.
    pub frames: u64,
    /// Frames that it, or its ring, says it lost.
    pub dropped: u64,
    /// Connections that it reported, if it reports any.
    pub connections: Option<u64>,
    /// What it used.
    pub usage: Usage,
}

/// A receiver that can be started as often as a search needs.
pub trait Receiver {
    /// Its name in the tables.
    fn name(&self) -> &str;

    /// Starts it at the receiver's end on the receiver's CPU and returns when it listens. Files that it
    /// writes go to `folder`, which is empty.
    ///
    /// # Errors
    ///
    /// When it is not installed, or does not come up.
    fn start(&self, lab: &Lab, folder: &Path) -> Result<Box<dyn Session>>;
}

/// A receiver that runs.
pub trait Session {
    /// Process id, for its memory and CPU time while it runs.
    fn pid(&self) -> u32;

    /// Stops it in good order, with all that it received so far read.
    ///
    /// # Errors
    ///
    /// When it does not end, or its figures cannot be read.
    fn stop(self: Box<Self>) -> Result<Seen>;
}
