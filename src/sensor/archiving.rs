//! The thread that compresses and removes closed files.

use crate::host::sandbox::{Sandbox, Thread};
use crate::log::sinks::archive::{Archive, Stop};
use crate::sys::priority;
use std::thread::{Builder, JoinHandle};

/// The archiver. A reload may add the first output that is rotated.
#[derive(Debug)]
pub struct Archiving {
    archive: Archive,
    thread: Option<JoinHandle<()>>,
}

impl Archiving {
    /// Starts the thread.
    pub fn start(archive: &Archive, sandbox: &Sandbox) -> Self {
        let own = archive.clone();
        let pass = sandbox.pass(Thread::Archiver);
        let work = move || {
            priority::lower();
            pass.enter();
            own.run();
        };
        let thread = Builder::new().name("archiver".to_owned()).spawn(work);
        Self {
            archive: archive.clone(),
            thread: Some(thread.expect("the system has a thread to give")),
        }
    }

    /// No thread: no output is rotated, and none is added.
    pub fn unneeded(archive: &Archive) -> Self {
        Self {
            archive: archive.clone(),
            thread: None,
        }
    }

    /// The files.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Ends it, once no more files are closed.
    pub fn end(&mut self, how: Stop) {
        self.archive.stop(how);
        if let Some(thread) = self.thread.take() {
            // A panic has ended the program.
            let _ = thread.join();
        }
    }
}
