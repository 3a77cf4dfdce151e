//! Receivers of a flood: the sensor, the bare reader and the peers, all behind one trait.

pub mod bare;
pub mod peers;
pub mod sensor;

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use crate::lab::process::Usage;

/// Frames that a receiver counted in a run, and the resources that it used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceiverCounts {
    /// Frames that it read.
    pub frames: u64,
    /// Frames lost, by its own count or its ring's.
    pub dropped: u64,
    /// Connections reported; `None` if it reports no connections.
    pub connections: Option<u64>,
    /// Resources used.
    pub usage: Usage,
}

/// A receiver; it can be started many times.
pub trait Receiver {
    /// Its name in the tables.
    fn name(&self) -> &str;

    /// Starts it at the receiver's end on the receiver's CPU; returns when it captures. It writes its files to
    /// `folder`, which is empty.
    ///
    /// # Errors
    ///
    /// When it is not installed, or does not start.
    fn start(&self, lab: &Lab, folder: &Path) -> Result<Box<dyn Session>>;
}

/// A running receiver.
pub trait Session {
    /// Process id, for its memory and CPU time while it runs.
    fn pid(&self) -> u32;

    /// Stops it after it has read all frames received so far.
    ///
    /// # Errors
    ///
    /// When it does not end, or its counts cannot be read.
    fn stop(self: Box<Self>) -> Result<ReceiverCounts>;
}
