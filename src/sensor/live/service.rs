//! What the service manager is told: signs of life only while every worker and the logger make progress.

use super::messenger::Messenger;
use crate::host::service_manager::ServiceManager;
use crate::time::clock::monotonic_ns;
use std::time::Duration;

/// Signs of life in the time that the manager waits for one.
const SIGNS: u32 = 3;
/// A run that ends itself to be started again lasts so long at least: what ends each one at once must not blind the host.
const LASTS_NS: i64 = 30_000_000_000;

/// A thread's name, and a number that changes at least once a second while it works or waits for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub name: String,
    pub rounds: u64,
}

/// The service manager, which is told that all is well when all threads have moved since the last time.
pub(super) struct Service {
    pub manager: ServiceManager,
    /// `None`: the manager waits for no sign.
    period_ns: Option<i64>,
    /// At the last sign.
    beats: Vec<Beat>,
    signed_ns: i64,
    /// Threads that stood still are reported.
    reported: bool,
    started_ns: i64,
}

impl Service {
    pub(super) fn new(manager: ServiceManager) -> Self {
        Self {
            period_ns: manager.watchdog().map(|wait| nanoseconds(wait / SIGNS)),
            manager,
            beats: Vec::new(),
            signed_ns: i64::MIN,
            reported: false,
            started_ns: monotonic_ns(),
        }
    }

    /// Whether there is a manager, which starts the service again if it ends now.
    pub(super) fn may_be_restarted(&self, now_ns: i64) -> bool {
        self.manager.is_present() && now_ns.saturating_sub(self.started_ns) >= LASTS_NS
    }

    /// Sends `WATCHDOG=1` if it is due and all is well. Call at least ten times a second. `beats` is asked only when a
    /// sign is due.
    pub(super) fn sign_of_life(
        &mut self,
        now_ns: i64,
        beats: impl FnOnce() -> Vec<Beat>,
        messenger: &Messenger,
    ) {
        let since_ns = now_ns.saturating_sub(self.signed_ns);
        let Some(period_ns) = self.period_ns.filter(|&period_ns| since_ns >= period_ns) else {
            return;
        };
        let beats = beats();
        let stalled: Vec<&str> = beats
            .iter()
            .filter(|beat| self.beats.contains(beat))
            .map(|beat| beat.name.as_str())
            .collect();
        if stalled.is_empty() {
            self.manager.notify(&["WATCHDOG=1"]);
            (self.beats, self.signed_ns, self.reported) = (beats, now_ns, false);
        } else if !self.reported && since_ns >= period_ns.saturating_mul(2) {
            let (names, seconds) = (stalled.join(", "), since_ns / 1_000_000_000);
            let text = format!(
                "{names} made no progress for {seconds} s: the service manager gets no sign of life until that changes"
            );
            messenger.report("stalled", text);
            self.reported = true;
        }
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::notice::{Notice, Notices};
    use std::io::ErrorKind;
    use std::os::unix::net::UnixDatagram;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn a_sign_is_given_only_when_every_thread_has_moved() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_nonblocking(true).expect("set");
        let signed = || {
            let mut buffer = [0; 64];
            match socket.recv(&mut buffer) {
                Ok(length) => buffer[..length] == *b"WATCHDOG=1",
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => panic!("{error}"),
            }
        };
        let interval = Some(Duration::from_secs(30));
        let manager = ServiceManager::connect(path.as_os_str(), interval).expect("connected");
        let mut service = Service::new(manager);
        let (notices, received) = Notices::channel();
        let messenger = Messenger::new(notices, true);
        let beats = |rounds: [u64; 2]| {
            ["worker-0", "logger"]
                .map(|name| name.to_owned())
                .into_iter()
                .zip(rounds)
                .map(|(name, rounds)| Beat { name, rounds })
                .collect()
        };
        let mut at = |second: i64, rounds: [u64; 2]| {
            service.sign_of_life(second * SECOND_NS, || beats(rounds), &messenger);
            signed()
        };
        assert!(at(10, [1, 1]), "the first at once");
        assert!(!at(19, [2, 2]), "none is due");
        assert!(at(20, [2, 2]));
        assert!(!at(30, [2, 3]), "the worker stands still");
        assert!(!at(39, [2, 4]));
        assert!(received.try_recv().is_err(), "not yet reported");
        assert!(!at(40, [2, 5]));
        assert!(!at(41, [2, 6]));
        assert!(at(42, [3, 7]), "it goes on");
        assert!(!at(52, [4, 7]), "the logger stands still");
        let Ok(Notice::Lifecycle { word, text, .. }) = received.try_recv() else {
            panic!("no record");
        };
        assert_eq!(word, "stalled");
        assert!(
            text.starts_with("worker-0 made no progress for 20 s: "),
            "{text}"
        );
        assert!(received.try_recv().is_err(), "reported once");
    }

    #[test]
    fn a_manager_that_waits_for_no_sign_gets_none() {
        let mut service = Service::new(ServiceManager::default());
        let (notices, _received) = Notices::channel();
        let asked = || panic!("no beats are asked for");
        service.sign_of_life(0, asked, &Messenger::new(notices, true));
    }
}
