//! The filter of one ring, set by two threads: one opens and closes the gate, the other filters bulk data under load.

use super::bpf::counted::RejectCounter;
use super::socket::{Filter, GATE, RxSocket};
use crate::error::SetupError;
use libc::sock_filter;
use std::sync::{Arc, Mutex, PoisonError};

/// A filter that owns its program.
#[derive(Clone, Debug)]
pub enum Program {
    /// A classic BPF program.
    Classic(Arc<[sock_filter]>),
    /// A program that counts rejected frames.
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
    gate_open: bool,
    bulk_filtered: bool,
}

/// The filters of one socket, and which of them is attached.
#[derive(Debug)]
pub struct Valve {
    all: Program,
    /// Filters out bulk data; `None` for a ring without bulk data.
    without_bulk: Option<Program>,
    state: Mutex<State>,
}

impl Valve {
    /// A closed valve, for a socket with the gate.
    pub fn new(all: Program, without_bulk: Option<Program>) -> Self {
        Self {
            all,
            without_bulk,
            state: Mutex::default(),
        }
    }

    /// The gate was opened by another process, and this filter attached.
    pub fn set_opened(&self, bulk_filtered: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            gate_open: true,
            bulk_filtered,
        };
    }

    /// Whether bulk data are filtered out.
    pub fn is_narrow(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bulk_filtered
    }

    /// Opens the gate.
    ///
    /// # Errors
    ///
    /// The kernel refuses the filter.
    pub fn open(&self, socket: &RxSocket) -> Result<(), SetupError> {
        self.update(socket, |state| state.gate_open = true)
    }

    /// Closes the gate.
    ///
    /// # Errors
    ///
    /// The kernel lacks the memory for a filter of one instruction.
    pub fn close(&self, socket: &RxSocket) -> Result<(), SetupError> {
        self.update(socket, |state| state.gate_open = false)
    }

    /// Filters bulk data out, or accepts them again. Behind a closed gate this takes effect when the gate opens.
    ///
    /// # Errors
    ///
    /// The kernel refuses the filter; the one before it stays.
    pub fn filter_bulk(&self, socket: &RxSocket, filter: bool) -> Result<(), SetupError> {
        if self.without_bulk.is_none() {
            return Ok(());
        }
        self.update(socket, |state| state.bulk_filtered = filter)
    }

    fn update(&self, socket: &RxSocket, change: impl FnOnce(&mut State)) -> Result<(), SetupError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let narrow = self.without_bulk.as_ref().filter(|_| state.bulk_filtered);
        let program = narrow.unwrap_or(&self.all);
        socket.attach(match state.gate_open {
            true => program.filter(),
            false => Filter::Classic(&GATE),
        })
    }
}
