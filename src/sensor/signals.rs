//! What signals ask for.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was asked for and is not done yet.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    report: Arc<AtomicBool>,
}

impl Signals {
    /// Takes SIGINT, SIGTERM, SIGHUP and SIGUSR1 from now on. Without it the last two end the program, so this
    /// comes first in a run. A second SIGINT or SIGTERM ends the program at once.
    ///
    /// # Errors
    ///
    /// The system refuses the handlers.
    pub fn take() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self {
            stop,
            reload: flag(SIGHUP)?,
            report: flag(SIGUSR1)?,
        })
    }

    /// Whether SIGINT or SIGTERM has come.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What [`Signals::stopped`] looks at, for whoever waits elsewhere.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Whether SIGHUP has come since this was asked last: open the logs anew.
    pub fn reload(&self) -> bool {
        taken(&self.reload)
    }

    /// Whether SIGUSR1 has come since this was asked last: show the books.
    pub fn report(&self) -> bool {
        taken(&self.report)
    }
}

fn flag(signal: i32) -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal, Arc::clone(&flag))?;
    Ok(flag)
}

/// A load first: this is asked before each frame of a capture.
fn taken(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed)
}
