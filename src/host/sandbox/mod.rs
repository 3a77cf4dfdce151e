//! Least privilege for a process that has opened what it needs.
//!
//! ```text
//! as root          Identity::choose   which user can open the outputs
//! all is open      Sandbox::close     user, capabilities, no_new_privs, no core dumps, Landlock
//! in each thread   Pass::enter        capabilities and system calls of that thread
//! ```
//!
//! A kernel without Landlock or seccomp(2) goes without it; [`Sandbox::describe`] says so.

mod calls;
pub(crate) mod capabilities;
mod files;
mod identity;

use crate::sys::seccomp;
use capabilities::keep_only;
use caps::Capability;
pub(crate) use files::host_files;
pub use files::{Collectors, Paths};
pub use identity::Identity;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::BpfProgram;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

words! {
    /// A kind of thread, by what it may do. The words stand in sentences.
    pub enum Thread {
        /// It supervises: interfaces, counters, the end of the run.
        Main = "the main thread",
        /// It reads rings.
        Worker = "a worker",
        /// It reads the sample of `--witness`.
        Witness = "the witness",
        /// It writes outputs and lists, and orders blocks.
        Logger = "the logger",
        /// It compresses and removes closed log files.
        Archiver = "the archiver",
        /// It serves metrics and the status socket.
        Metrics = "the metrics server",
        /// It writes metrics to a file.
        Textfile = "the writer of metrics",
        /// A process of its own: it names services by their commands.
        Finder = "the helper that names services",
    }
}

/// What a process may still do.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// `None`: `--no-sandbox`.
    walls: Option<Arc<Walls>>,
    /// Passes that were given and not used.
    outside: Arc<AtomicUsize>,
}

/// For a thread, which is to enter the sandbox before it does anything else.
#[derive(Debug)]
pub struct Pass {
    sandbox: Sandbox,
    thread: Thread,
}

#[derive(Debug)]
struct Walls {
    identity: Identity,
    /// `None`: this kernel filters no system calls.
    filters: Option<Filters>,
    /// What Landlock is not, if it is not.
    no_landlock: Option<&'static str>,
    /// Of the main thread.
    kept: Vec<Capability>,
}

impl Sandbox {
    /// None: threads keep what the process has.
    pub fn off() -> Self {
        Self::default()
    }

    /// Closes the sandbox around the process, for good: for the calling thread, and for those that it starts.
    ///
    /// Call it when everything is open, and before other threads start: the kernel keeps all of it per thread.
    /// `counts`: whether a counter of filtered frames can be read, if there is one. Before Linux 5.19 that needs
    /// CAP_BPF, which is kept then.
    ///
    /// # Errors
    ///
    /// One sentence: what the kernel refused.
    pub fn close(
        identity: Identity,
        paths: &Paths,
        counts: impl Fn() -> bool,
    ) -> Result<Self, String> {
        let filters = Filters::new(&paths.collectors)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| refused("RLIMIT_CORE", &errno))?;
        capabilities::empty_bounding_set()?;
        identity.assume()?;
        let mut kept = vec![Capability::CAP_NET_RAW];
        if identity.overrides {
            kept.push(Capability::CAP_DAC_OVERRIDE);
        }
        let counted = counts();
        capabilities::use_only(&kept)?;
        if counted && !counts() {
            kept.push(Capability::CAP_BPF);
        }
        kept.retain(|one| capabilities::is_permitted(*one));
        keep_only(&kept, false)?;
        prctl::set_dumpable(false).map_err(|errno| refused("PR_SET_DUMPABLE", &errno))?;
        let no_landlock = files::restrict(paths)?;
        let walls = Arc::new(Walls {
            identity,
            filters,
            no_landlock,
            kept,
        });
        Ok(Self {
            walls: Some(walls),
            outside: Arc::default(),
        })
    }

    /// For a thread that is about to be started.
    pub fn pass(&self, thread: Thread) -> Pass {
        self.outside.fetch_add(1, Ordering::Relaxed);
        let sandbox = self.clone();
        Pass { sandbox, thread }
    }

    /// Waits until every pass is used, then enters as the main thread. No packet may be read before.
    pub fn enter_last(&self) {
        // Acquire pairs with the release of `Pass::enter`.
        while self.outside.load(Ordering::Acquire) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.enter(Thread::Main);
    }

    fn enter(&self, thread: Thread) {
        let Some(walls) = &self.walls else { return };
        let may = |one: &&Capability| match **one {
            Capability::CAP_DAC_OVERRIDE => matches!(
                thread,
                Thread::Main | Thread::Logger | Thread::Archiver | Thread::Textfile
            ),
            _ => thread == Thread::Main,
        };
        let kept: Vec<Capability> = walls.kept.iter().filter(may).copied().collect();
        keep_only(&kept, false).expect("a thread may give up what it has");
        if let Some(filters) = &walls.filters {
            let done = filters.install(thread);
            done.expect("the kernel has said that it filters system calls");
        }
    }

    /// Whether only files below the paths of [`Sandbox::close`] can be opened.
    pub fn restricts_files(&self) -> bool {
        self.walls
            .as_ref()
            .is_some_and(|walls| walls.no_landlock.is_none())
    }

    /// One line for the start of a run.
    pub fn describe(&self) -> String {
        let Some(walls) = &self.walls else {
            return "sandbox: off (--no-sandbox): a fault in how packets are read gives away all privileges".to_owned();
        };
        let mut parts = vec![walls.identity.describe()];
        parts.push(match walls.kept.as_slice() {
            [] => "no capability".to_owned(),
            kept => {
                let names: Vec<String> = kept.iter().map(ToString::to_string).collect();
                format!("{} alone", names.join(", "))
            }
        });
        parts.push(match walls.filters {
            Some(_) => "system calls by thread (seccomp)".to_owned(),
            None => "all system calls (this kernel does not filter them)".to_owned(),
        });
        parts.push(match walls.no_landlock {
            None => "files of its own alone (Landlock)".to_owned(),
            Some(why) => format!("all files of that user ({why})"),
        });
        let line = format!("sandbox: {}", parts.join(", "));
        match &walls.identity.note {
            Some(note) => format!("{line}\nsynledger: {note}"),
            None => line,
        }
    }
}

/// Filters of system calls, two for each kind of thread.
#[derive(Debug)]
struct Filters([[BpfProgram; 2]; Thread::COUNT]);

impl Filters {
    /// `None`: this kernel has none. From now on a refused call has a signal, which this handles.
    fn new(collectors: &Collectors) -> Result<Option<Self>, String> {
        if !seccomp::is_available() {
            return Ok(None);
        }
        seccomp::name_refusals().map_err(|error| refused("sigaction(SIGSYS)", &error))?;
        let mut all = Self(Default::default());
        for thread in Thread::ALL {
            // The last one leaves no way to add another.
            all.0[thread.index()] = [thread.quiet_filter()?, thread.filter(collectors)?];
        }
        Ok(Some(all))
    }

    /// Filters the calls of the calling thread.
    fn install(&self, thread: Thread) -> io::Result<()> {
        let index = thread.index();
        let mut both = self.0[index].iter();
        both.try_for_each(|filter| seccomp::install(filter, index, thread.word()))
    }
}

/// Filters the system calls of a process with one thread, where the kernel does that.
///
/// # Errors
///
/// One sentence: what the kernel refused.
pub(crate) fn filter_alone(thread: Thread) -> Result<(), String> {
    let done = Filters::new(&Collectors::default())?.map(|filters| filters.install(thread));
    done.transpose()
        .map(drop)
        .map_err(|error| refused("seccomp", &error))
}

impl Pass {
    /// Reduces the calling thread to what its kind needs, for good.
    ///
    /// # Panics
    ///
    /// If the kernel refuses what it has said that it can.
    pub fn enter(self) {
        self.sandbox.enter(self.thread);
        self.sandbox.outside.fetch_sub(1, Ordering::Release);
    }
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}

/// System calls that the sandbox refused, each once for a kind of thread.
#[derive(Debug, Default)]
pub struct Refusals(seccomp::Told);

impl Refusals {
    /// A sentence for each that is new.
    pub fn take(&mut self) -> Vec<String> {
        let new = seccomp::newly_refused(&mut self.0).into_iter();
        let sentence = |(kind, call): (usize, String)| {
            let thread = Thread::ALL.get(kind).map_or("a thread", |one| one.word());
            format!("the sandbox refused the system call {call} of {thread}")
        };
        new.map(sentence).collect()
    }
}
