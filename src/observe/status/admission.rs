//! The connections that are open. Whoever finds no room is told so.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Debug)]
struct Client {
    task: JoinHandle<()>,
    has_asked: Arc<AtomicBool>,
    /// Tells it to answer that there is no room, and to end.
    leave: oneshot::Sender<()>,
}

/// What the task of a client has of it.
#[derive(Debug)]
pub(super) struct Place {
    /// Set when the whole request is there: from then on nobody else gets this place.
    pub has_asked: Arc<AtomicBool>,
    /// Somebody else gets it.
    pub leave: oneshot::Receiver<()>,
}

/// Open connections, oldest first.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    open: VecDeque<Client>,
}

impl Admission {
    pub fn at_most(most: usize) -> Self {
        let open = VecDeque::with_capacity(most);
        Self { most, open }
    }

    /// Adds a connection. Where it is one too many, the oldest that has not asked leaves; where all have asked, the new
    /// one is told `busy` and closed.
    pub fn admit(
        &mut self,
        stream: UnixStream,
        busy: &str,
        start: impl FnOnce(UnixStream, Place) -> JoinHandle<()>,
    ) {
        self.open.retain(|client| !client.task.is_finished());
        if self.open.len() >= self.most {
            let silent = |client: &Client| !client.has_asked.load(Ordering::Relaxed);
            let oldest = self.open.iter().position(silent);
            let Some(client) = oldest.and_then(|at| self.open.remove(at)) else {
                // The buffer of a new connection has room for it.
                if let Ok(mut stream) = stream.into_std() {
                    let _ = stream.write_all(busy.as_bytes());
                }
                return;
            };
            let _ = client.leave.send(());
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let (leave, told) = oneshot::channel();
        let place = Place {
            has_asked: Arc::clone(&has_asked),
            leave: told,
        };
        let task = start(stream, place);
        self.open.push_back(Client {
            task,
            has_asked,
            leave,
        });
    }
}
