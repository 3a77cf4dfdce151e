//! Every event of all shards in the log's order, before anything is folded, withheld or filtered for outputs.

use super::event::Event;
use super::notice::Notice;
use super::reached::LogTime;
use crate::books::blocks::BlockCounts;
use crate::books::responder::ResponderCounts;

/// An event at the tap. Its own times are in run time.
#[derive(Clone, Copy, Debug)]
pub struct TapEvent<'a> {
    /// The event.
    pub event: &'a Event,
    /// When it was due.
    pub due: LogTime,
    /// From run time to the wall clock at the event; 0 in `read`.
    pub shift_ns: i64,
}

/// Listens at the tap.
pub trait Listener: Send {
    /// Called for every event, in the order of the log.
    fn on_event(&mut self, event: TapEvent<'_>);
    /// Live: the log has reached `at`, and it is `now_ns` by the wall clock. Called many times a second.
    fn tick(&mut self, at: LogTime, now_ns: i64);
    /// The log ended at `at`.
    fn finish(&mut self, at: LogTime, now_ns: i64);
    /// A notice for the log; called until there is none.
    fn take_notice(&mut self) -> Option<Notice>;
    /// The books of what it keeps, in the order of the command line.
    fn counts(&self) -> Vec<ResponderCounts>;
    /// The books of blocks, if it keeps them.
    fn block_counts(&self) -> Option<BlockCounts> {
        None
    }
}

/// The tap. Without a listener it costs nothing.
#[derive(Default)]
pub struct Tap {
    listeners: Vec<Box<dyn Listener>>,
    reached: LogTime,
}

impl Tap {
    /// Adds a listener, which hears each event after those that were added before.
    pub fn add(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    #[inline]
    pub(super) fn on_event(&mut self, event: TapEvent<'_>) {
        if !self.listeners.is_empty() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: TapEvent<'_>) {
        if event.due.run_ns > self.reached.run_ns && !event.event.step.is_end() {
            self.reached = event.due;
        }
        for listener in &mut self.listeners {
            listener.on_event(event);
        }
    }

    /// Advances the position of the log; it never goes back.
    pub fn reach(&mut self, at: LogTime) {
        if at.run_ns > self.reached.run_ns {
            self.reached = at;
        }
    }

    pub(super) fn tick(&mut self, at: LogTime, now_ns: i64) {
        self.reach(at);
        for listener in &mut self.listeners {
            listener.tick(self.reached, now_ns);
        }
    }

    pub(super) fn finish(&mut self, now_ns: i64) {
        for listener in &mut self.listeners {
            listener.finish(self.reached, now_ns);
        }
    }

    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        let mut listeners = self.listeners.iter_mut();
        listeners.find_map(|listener| listener.take_notice())
    }

    pub(super) fn counts(&self) -> Vec<ResponderCounts> {
        let listeners = self.listeners.iter();
        listeners.flat_map(|listener| listener.counts()).collect()
    }

    pub(super) fn block_counts(&self) -> Option<BlockCounts> {
        let mut listeners = self.listeners.iter();
        listeners.find_map(|listener| listener.block_counts())
    }
}
