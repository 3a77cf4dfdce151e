//! The connections that are open, so that a new one finds room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

#[derive(Debug)]
struct Client {
    task: JoinHandle<()>,
    /// The head of its request is there.
    has_asked: Arc<AtomicBool>,
}

/// Open connections, oldest first.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    open: Mutex<VecDeque<Client>>,
    unanswered: Arc<AtomicU64>,
}

impl Clients {
    /// Counts those that are closed without an answer in `unanswered`.
    pub fn at_most(most: usize, unanswered: Arc<AtomicU64>) -> Self {
        let open = Mutex::new(VecDeque::with_capacity(most));
        Self {
            most,
            open,
            unanswered,
        }
    }

    /// Counts a connection that ended without an answer by itself.
    pub fn note_unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a connection. Where it is one too many, the oldest that has not asked is closed, else the oldest.
    ///
    /// `start` gets what to call when the request is there.
    pub fn admit(&self, start: impl FnOnce(Box<dyn Fn() + Send + Sync>) -> JoinHandle<()>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|client| !client.task.is_finished());
        if open.len() >= self.most {
            let silent = |client: &Client| !client.has_asked.load(Ordering::Relaxed);
            let oldest = open.iter().position(silent).unwrap_or(0);
            if let Some(client) = open.remove(oldest) {
                client.task.abort();
                self.note_unanswered();
            }
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let task = start(Box::new(move || asked.store(true, Ordering::Relaxed)));
        open.push_back(Client { task, has_asked });
    }
}
