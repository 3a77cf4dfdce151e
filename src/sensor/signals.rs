//! Signals as flags.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals received and not handled yet.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    report: Arc<AtomicBool>,
    hand_over: Arc<AtomicBool>,
}

impl Signals {
    /// Handles SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 from now on. Unhandled, the last three end the program: call this
    /// first. A second SIGINT or SIGTERM ends the program at once.
    pub fn register() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self {
            stop,
            reload: flag(SIGHUP)?,
            report: flag(SIGUSR1)?,
            hand_over: flag(SIGUSR2)?,
        })
    }

    /// SIGINT or SIGTERM came.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The flag behind [`Signals::stopped`], for other threads.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// SIGHUP came since the last call: reopen the log files.
    pub fn reload(&self) -> bool {
        taken(&self.reload)
    }

    /// SIGUSR2 came since the last call: hand over to the next process by the service manager.
    pub fn hand_over(&self) -> bool {
        taken(&self.hand_over)
    }

    /// SIGUSR1 came since the last call: print the books.
    pub fn report(&self) -> bool {
        taken(&self.report)
    }
}

fn flag(signal: i32) -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal, Arc::clone(&flag))?;
    Ok(flag)
}

/// A load before the swap: this runs before each frame of a capture.
fn taken(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed)
}
