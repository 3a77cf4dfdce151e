//! A second namespace, for programs that need one end of the pair for themselves, and one for mounts.

use crate::common::netns::{SENDER, SENSOR, ip, wait_for_end};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use std::sync::mpsc;
use std::thread;

/// Moves the calling thread, and what it starts, into a namespace for mounts where nothing is mounted at /sys/fs/bpf.
pub fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a namespace for mounts");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
    // Several may lie above one another.
    while umount("/sys/fs/bpf").is_ok() {}
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a namespace of its own, which has one end of a pair. Dropping it removes the pair.
pub struct Peer(mpsc::Sender<Job>);

impl Peer {
    /// Takes [`SENDER`] out of the calling thread's namespace and brings it up in the new one.
    pub fn new() -> Self {
        let peer = Self::with(SENDER);
        wait_for_end(SENSOR);
        peer
    }

    /// The same with this end of another pair.
    pub fn with(end: &'static str) -> Self {
        let (jobs, todo) = mpsc::channel::<Job>();
        thread::spawn(move || todo.into_iter().for_each(|job| job()));
        let peer = Self(jobs);
        let there = peer.run(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a second namespace");
            ip("link set lo up");
            gettid()
        });
        ip(&format!("link set {end} netns {there}"));
        peer.run(move || {
            ip(&format!("link set {end} up"));
            wait_for_end(end);
        });
        peer
    }

    /// Runs a job in the peer's namespace and returns its result.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = move || drop(done.send(job()));
        self.0.send(Box::new(job)).expect("the peer is there");
        result.recv().expect("the job does not panic")
    }
}
