//! What a way to block brings along: a [`Backend`] for the worker, and its [`Method`], which says how a helper of it
//! starts.

use super::protocol::{Incident, Said};
use crate::respond::block::firewall::{Element, Order, Refused};
use caps::Capability;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

/// Why orders cannot be carried out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unbuilt {
    /// Something of our name in the kernel is not ours.
    Foreign,
    /// The kernel's error number. EPERM: as [`Self::Busy`], perhaps.
    Kernel(i32),
    /// One sentence.
    Because(String),
    /// One sentence: another process has it, for example the helper of a sensor that was killed.
    Busy(String),
}

impl Unbuilt {
    /// The answer to every order meanwhile.
    pub fn refusal(&self) -> Refused {
        Refused::Kernel(match self {
            Self::Foreign => libc::EEXIST,
            Self::Kernel(errno) => *errno,
            Self::Because(_) => libc::ENXIO,
            Self::Busy(_) => libc::EBUSY,
        })
    }
}

impl From<io::Error> for Unbuilt {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// The kernel's part: carries out orders that were checked. The worker calls it from one thread.
pub trait Backend {
    /// Takes over what an earlier run left, but what `is_protected`, or begins with nothing. Returns how many elements
    /// were taken over; `None`: there was no earlier run. Called until it succeeds.
    ///
    /// # Errors
    ///
    /// Why no order can be carried out.
    fn adopt(
        &mut self,
        is_protected: &dyn Fn(IpNet) -> bool,
        now_ns: i64,
    ) -> Result<Option<usize>, Unbuilt>;
    /// Puts right what somebody changed, with every element that should be there.
    ///
    /// # Errors
    ///
    /// Why no order can be carried out.
    fn repair(&mut self, now_ns: i64) -> Result<(), Unbuilt>;
    /// Carries out orders; returns an answer to each. An order that is refused does not keep others from being carried
    /// out.
    fn apply(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>>;
    /// Every element as the kernel has it.
    ///
    /// # Errors
    ///
    /// The kernel's: [`Self::repair`] is called.
    fn list(&mut self) -> io::Result<Vec<Element>>;
    /// Packets and bytes that an element has dropped so far; `None`: it is not there, or nothing is counted.
    fn counted(&mut self, net: IpNet) -> Option<(u64, u64)>;
    /// Elements that satisfy `is`.
    fn matching(&self, is: &dyn Fn(IpNet) -> bool) -> Vec<IpNet>;
    /// Number of elements, of which some may have expired just now.
    fn count(&self) -> usize;
    /// The end of the run: removes all of it, unless it is to be kept.
    ///
    /// # Errors
    ///
    /// The kernel's error number.
    fn close(&mut self, keep: bool) -> Result<(), i32>;
    /// Becomes readable when others may have changed our part.
    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Whether others have changed our part since the last call: [`Self::repair`] is called soon.
    fn has_changed(&mut self) -> bool {
        false
    }
    /// Interfaces or addresses of this host have changed.
    fn on_links_changed(&mut self) {}
    /// When [`Self::on_due`] wants to be called, by CLOCK_MONOTONIC.
    fn due_ns(&self) -> Option<i64> {
        None
    }
    /// It is time.
    fn on_due(&mut self, _now_ns: i64) {}
    /// What there is to say since the last call.
    fn take_said(&mut self) -> Vec<Said> {
        Vec::new()
    }
}

/// An element as it is left in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftElement {
    /// Whom it drops.
    pub net: IpNet,
    /// Whole seconds left; `None`: it has no end, as no block of a sensor.
    pub left_s: Option<u64>,
    /// Packets and bytes dropped, where the kernel counts them.
    pub dropped: Option<(u64, u64)>,
}

/// What an earlier run left in the kernel, or a run that goes on has there. Nothing is changed by finding it.
pub trait Left {
    /// A sentence about each part that cannot be read.
    fn unread(&self) -> Vec<String> {
        Vec::new()
    }
    /// The process that has it, in words; `None`: nobody, so that anybody may change it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn owner(&mut self) -> io::Result<Option<String>>;
    /// Every element that is not over.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn list(&mut self) -> io::Result<Vec<LeftElement>>;
    /// Lets these in again, which are in the list; returns an answer to each.
    fn let_in(&mut self, nets: &[IpNet]) -> Vec<Result<(), Refused>>;
    /// Removes all of it.
    ///
    /// # Errors
    ///
    /// One sentence: the kernel's answer, or what stays.
    fn remove(&mut self) -> Result<(), String>;
}

/// `None`: there is nothing.
pub type FoundLeft = Result<Option<Box<dyn Left>>, Unbuilt>;

/// A backend that has changed nothing yet, or why there is none.
pub type Opened = io::Result<Box<dyn Backend>>;

/// Carries out orders in runs of at most `max` about different elements, a flush alone; returns an answer to each.
pub fn in_runs(
    orders: &[Order],
    max: usize,
    mut carry_out: impl FnMut(&[Order]) -> Vec<Result<(), Refused>>,
) -> Vec<Result<(), Refused>> {
    let mut answers = Vec::with_capacity(orders.len());
    let mut left = orders;
    while !left.is_empty() {
        let (run, rest) = left.split_at(run_length(left, max));
        answers.extend(carry_out(run));
        left = rest;
    }
    answers
}

/// Orders from the first one on that make a run.
fn run_length(orders: &[Order], max: usize) -> usize {
    let mut seen = BTreeSet::new();
    let fits = |order: &&Order| match order {
        Order::Add { net, .. } | Order::Remove { net } => seen.insert(*net),
        Order::Flush => false,
    };
    let length = orders.iter().take(max).take_while(fits).count();
    length.max(1)
}

/// A way to block by a helper process.
#[derive(Debug)]
pub struct Method {
    /// Its word among the arguments of a helper.
    pub word: &'static str,
    /// What keeper and worker may do, and nothing else.
    pub capabilities: &'static [Capability],
    /// What they may do as well, where [`Self::prepare`] says that this kernel wants it.
    pub optional: &'static [Capability],
    /// Called by the keeper while it still has all privileges of the sensor. Returns whether [`Self::optional`] is needed.
    pub prepare: fn() -> bool,
    /// Whether these arguments are right for [`Self::open`].
    pub takes: fn(&[String]) -> bool,
    /// Opens the worker's part for so many elements at most; nothing is changed yet.
    pub open: fn(u32, &[String]) -> Opened,
    /// Finds what is in the kernel, without a helper.
    pub left: fn() -> FoundLeft,
    /// What is said of it.
    pub sentences: Sentences,
}

/// What is said to an operator.
#[derive(Debug)]
pub struct Sentences {
    /// About an incident.
    pub of: fn(Incident) -> String,
    /// Orders are carried out after a time when none were.
    pub built: &'static str,
    /// The end of a sentence about a helper that gave no last answer: what may be left.
    pub left: &'static str,
    /// What a helper needs: the names of its capabilities.
    pub needs: &'static str,
}
