//! The process between the sensor and the worker: starts a worker again that has died.
//!
//! The sensor cannot: it has given up CAP_NET_ADMIN, and so would its children have. The keeper holds the capabilities,
//! reads nothing that anybody sends, and shares the worker's end of the socket pair, so that the sensor's orders wait
//! there while there is no worker.

use super::privileges;
use super::process::{KEEP, Start};
use super::worker::{End, work};
use super::{ENDED_WELL, FAILED, HELPER, NO_PRIVILEGE, WRONG_START};
use crate::host::helper::{close_other_descriptors, ignore_stop_signals};
use crate::host::sandbox::capabilities::keep_only;
use crate::time::clock::monotonic_ns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use std::ffi::OsString;
use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const DELAY_MS_MIN: u16 = 100;
const DELAY_MS_MAX: u16 = 10_000;
/// A worker that lived so long had a good start.
const GOOD_NS: i64 = 60_000_000_000;

/// First argument of a worker, before its epoch.
const WORK: &str = "work";

/// Runs a keeper or a worker, as the arguments behind [`HELPER`] say. Returns its exit code, and what to say if it
/// could not work.
pub fn helper(arguments: impl Iterator<Item = OsString>) -> (u8, Option<String>) {
    let words: Vec<String> = arguments.filter_map(|it| it.into_string().ok()).collect();
    let socket = stdin();
    let ours = getsockopt(&socket.as_fd(), sockopt::SockType) == Ok(SockType::SeqPacket);
    let Some((epoch, start)) = started(&words).filter(|_| ours) else {
        let says = format!("{HELPER} is started by synledger itself");
        return (WRONG_START, Some(says));
    };
    ignore_stop_signals();
    close_other_descriptors();
    let _ = prctl::set_name(c"synledger-block");
    // A worker has what its keeper has kept.
    let wants_more = epoch.is_some() || (start.method.prepare)();
    let capabilities = privileges::of(start.method, wants_more);
    if let Err(why) = keep_only(&capabilities, epoch.is_none()) {
        let needs = start.method.sentences.needs;
        let says = format!("the block helper cannot have {needs} alone: {why}");
        return (NO_PRIVILEGE, Some(says));
    }
    // Another process of the same user must not be able to change its memory.
    let _ = prctl::set_dumpable(false);
    let code = match epoch {
        None => keep(&start),
        Some(epoch) => match work(socket.as_fd(), epoch, &start) {
            End::Closed => ENDED_WELL,
            End::Failed => FAILED,
        },
    };
    (code, None)
}

/// The epoch of a worker, or `None` for a keeper, and what it is told; from the arguments behind [`HELPER`].
pub fn started(words: &[String]) -> Option<(Option<u32>, Start)> {
    match words.split_first()? {
        (first, rest) if first == KEEP => Some((None, Start::parse(rest)?)),
        (first, [epoch, rest @ ..]) if first == WORK => {
            Some((Some(epoch.parse().ok()?), Start::parse(rest)?))
        }
        _ => None,
    }
}

fn keep(start: &Start) -> u8 {
    let socket = stdin();
    let mut delay_ms = DELAY_MS_MIN;
    let mut epoch = 1_u32;
    loop {
        let started_ns = monotonic_ns();
        let ended = Command::new("/proc/self/exe")
            .arg0("synledger")
            .args([HELPER, WORK, &epoch.to_string()])
            .args(start.arguments())
            .env_clear()
            .stdin(Stdio::inherit())
            .stdout(Stdio::null())
            .status();
        match ended.map(|status| status.code()) {
            Ok(Some(code)) if code == i32::from(ENDED_WELL) => return ENDED_WELL,
            Ok(Some(code)) if code == i32::from(NO_PRIVILEGE) => return NO_PRIVILEGE,
            Ok(Some(code)) if code == i32::from(WRONG_START) => return WRONG_START,
            _ => {}
        }
        if monotonic_ns() - started_ns > GOOD_NS {
            delay_ms = DELAY_MS_MIN;
        }
        // Only the end of the sensor ends this wait early.
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        if poll(&mut fds, PollTimeout::from(delay_ms)).is_ok_and(|ready| ready > 0) {
            return ENDED_WELL;
        }
        delay_ms = delay_ms.saturating_mul(2).min(DELAY_MS_MAX);
        epoch = epoch.wrapping_add(1);
    }
}
