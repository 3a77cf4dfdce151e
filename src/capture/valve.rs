//! What enters one ring, by two hands: one opens and closes the gate, the other refuses bulk data under load.

use super::bpf::counted::RejectCounter;
use super::socket::{Filter, GATE, RxSocket};
use crate::error::SetupError;
use libc::sock_filter;
use std::sync::{Arc, Mutex, PoisonError};

/// A filter that outlives its maker.
#[derive(Clone, Debug)]
pub enum Program {
    /// A classic program.
    Classic(Arc<[sock_filter]>),
    /// One that counts what it rejects.
    Counted(Arc<RejectCounter>),
}

impl Program {
    fn filter(&self) -> Filter<'_> {
        match self {
            Self::Classic(program) => Filter::Classic(program),
            Self::Counted(counter) => Filter::Extended(counter.fd()),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// The gate is open: frames come in.
    open: bool,
    /// Bulk data are refused.
    narrow: bool,
}

/// The filters of one socket, and which of them stands.
#[derive(Debug)]
pub struct Valve {
    wide: Program,
    /// What refuses bulk data; `None` where there is nothing to refuse.
    narrow: Option<Program>,
    state: Mutex<State>,
}

impl Valve {
    /// A closed valve: the socket has the gate.
    pub fn new(wide: Program, narrow: Option<Program>) -> Self {
        Self {
            wide,
            narrow,
            state: Mutex::default(),
        }
    }

    /// Lets frames in.
    ///
    /// # Errors
    ///
    /// The kernel refuses the filter.
    pub fn open(&self, socket: &RxSocket) -> Result<(), SetupError> {
        self.turn(socket, |state| state.open = true)
    }

    /// Lets nothing in any more.
    ///
    /// # Errors
    ///
    /// The kernel lacks the memory for a filter of one instruction.
    pub fn close(&self, socket: &RxSocket) -> Result<(), SetupError> {
        self.turn(socket, |state| state.open = false)
    }

    /// Refuses bulk data, or takes them again. Where the gate is closed, once it opens.
    ///
    /// # Errors
    ///
    /// The kernel refuses the filter; the one before it stands.
    pub fn refuse_bulk(&self, socket: &RxSocket, refuse: bool) -> Result<(), SetupError> {
        if self.narrow.is_none() {
            return Ok(());
        }
        self.turn(socket, |state| state.narrow = refuse)
    }

    fn turn(&self, socket: &RxSocket, change: impl FnOnce(&mut State)) -> Result<(), SetupError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let program = self.narrow.as_ref().filter(|_| state.narrow);
        let program = program.unwrap_or(&self.wide);
        socket.attach(match state.open {
            true => program.filter(),
            false => Filter::Classic(&GATE),
        })
    }
}
