//! The status socket: `synledger top` and `synledger block` ask the sensor over it.
//!
//! A client sends one line of JSON and gets one back ([`protocol`]). Who may: root, the user of the sensor, and the
//! members of one group, as the kernel names the peer (SO_PEERCRED, SO_PEERGROUPS). Clients are few, their requests bounded in size and
//! time, and only one at a time has a long request or a list: together they take at most [`memory_bytes`]. Whoever finds
//! no room is told so.

mod admission;
mod protocol;
mod screen;

use crate::observe::metrics::Exposition;
use crate::observe::view::View;
use crate::respond::block::desk::{Desk, Wish};
use crate::sys::peer_groups::peer_groups;
use admission::{Admission, Place};
use nix::unistd::{Gid, Group, Uid};
use protocol::{REQUEST_BYTES_MAX, Request};
pub(crate) use protocol::{VERSION, stamp, wish};
use screen::Screen;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections open at once.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// For the first part of a request, and again for the rest of a long one.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A client with a long request or for a list waits so long for another one.
const BUSY_TIME: Duration = Duration::from_secs(8);
/// For the answer's last byte to be taken.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A longer request waits until no other one is long.
const SHORT_BYTES: usize = 4 << 10;
/// A connection with a short request: the line, its networks (at most 340), their refusals and the answer.
const CLIENT_BYTES: u64 = 96 << 10;
/// A long request with [`protocol::NETS_MAX`] networks: first the line (4 MiB) and its JSON (9 MiB), then the networks (5
/// MiB), their refusals (8 MiB), and the answer while it grows (12 MiB).
const LONG_BYTES: u64 = 24 << 20;
/// A row of a list, while the list grows.
const ROW_BYTES: u64 = 1 << 10;

/// The maximum memory of all clients together, where at most so many blocks are listed.
pub(crate) fn memory_bytes(blocks_max: usize) -> u64 {
    let list = blocks_max as u64 * ROW_BYTES;
    CONNECTIONS_MAX as u64 * CLIENT_BYTES + list.max(LONG_BYTES) + View::memory_bytes()
}

/// Where the socket is, and who may use it beside root and the sensor's user: a group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPlan {
    /// Its path.
    pub socket: PathBuf,
    /// The group.
    pub group: Option<String>,
}

const NO_BLOCKS: &str = "this sensor runs without --block: it has no blocks";
const BUSY: &str = "busy: others are being served; try again";
const NO_REQUEST: &str = "a request is one line of JSON of at most 4 MiB, within five seconds";

/// A socket that listens, and whom it serves.
#[derive(Debug)]
pub(crate) struct StatusSocket {
    listener: StdListener,
    /// `--block`'s; `None`: nothing is blocked.
    desk: Option<Desk>,
    view: View,
    sensor: String,
    group: Option<Gid>,
}

impl StatusSocket {
    /// `group` may use it, beside root and the user of this process.
    pub(crate) fn new(
        listener: StdListener,
        (desk, view, sensor): (Option<Desk>, View, &str),
        group: Option<Gid>,
    ) -> Self {
        Self {
            listener,
            desk,
            view,
            sensor: sensor.to_owned(),
            group,
        }
    }

    /// Accepts clients until the process ends.
    pub(super) async fn serve(self, exposition: Exposition) {
        let is_ready = self.listener.set_nonblocking(true).is_ok();
        let Some(listener) = UnixListener::from_std(self.listener)
            .ok()
            .filter(|_| is_ready)
        else {
            return;
        };
        let mut admission = Admission::at_most(CONNECTIONS_MAX);
        let counter = Arc::new(Counter {
            desk: self.desk,
            screen: Screen::new(self.sensor, self.view, exposition),
            group: self.group,
            long: Arc::new(Semaphore::new(1)),
        });
        let busy = protocol::refused(BUSY);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    admission.admit(stream, &busy, |stream, place| {
                        tokio::spawn(Arc::clone(&counter).serve(stream, place))
                    });
                    tokio::task::yield_now().await;
                }
                // No descriptor is left: others may give one back.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Who holds it may have a long request or a list.
type Long = OwnedSemaphorePermit;

/// What clients share.
#[derive(Debug)]
struct Counter {
    desk: Option<Desk>,
    screen: Screen,
    group: Option<Gid>,
    long: Arc<Semaphore>,
}

impl Counter {
    async fn serve(self: Arc<Self>, stream: UnixStream, place: Place) {
        let cred = stream.peer_cred();
        let may = cred.is_ok_and(|cred| {
            let groups = || peer_groups(stream.as_fd()).unwrap_or_default();
            may_use(cred.uid(), cred.gid(), self.group, groups)
        });
        let (mut read, mut write) = stream.into_split();
        let mut long = None;
        let asked = || place.has_asked.store(true, Ordering::Relaxed);
        let answer = match may {
            false => Err(
                "only root, the user of the sensor and the group of --status-group may use this socket",
            ),
            true => tokio::select! {
                biased;
                answer = self.answer(&mut read, &mut long, asked) => answer,
                _ = place.leave => Err(BUSY),
            },
        };
        let answer = answer.unwrap_or_else(protocol::refused);
        // A client that is slow or gone is no fault of ours.
        let _ = timeout(ANSWER_TIME, async {
            let _ = write.write_all(answer.as_bytes()).await;
            let _ = write.shutdown().await;
        })
        .await;
    }

    /// Reads the request and answers it; who is to hold `long` until the answer is taken, has it then. The error is one
    /// sentence.
    async fn answer(
        &self,
        read: &mut OwnedReadHalf,
        long: &mut Option<Long>,
        asked: impl Fn(),
    ) -> Result<String, &'static str> {
        let line = self.request(read, long).await?;
        asked();
        let request = match protocol::request(&line) {
            Ok(request) => request,
            Err(error) => return Ok(protocol::refused(&error)),
        };
        drop(line);
        let (wish, desk) = match (request, &self.desk) {
            (Request::Top, _) => return Ok(self.screen.rendered()),
            (Request::Wish(wish), Some(desk)) => (wish, desk),
            (Request::Wish(_), None) => return Err(NO_BLOCKS),
        };
        if wish == Wish::List && long.is_none() {
            *long = Some(self.wait_for_long().await?);
        }
        Ok(protocol::answer(desk, wish).await)
    }

    /// The line of a request.
    async fn request(
        &self,
        read: &mut OwnedReadHalf,
        long: &mut Option<Long>,
    ) -> Result<Vec<u8>, &'static str> {
        let mut line = Vec::with_capacity(SHORT_BYTES);
        for most in [SHORT_BYTES, REQUEST_BYTES_MAX] {
            if most > SHORT_BYTES {
                *long = Some(self.wait_for_long().await?);
                line.reserve_exact(most - line.len());
            }
            match timeout(REQUEST_TIME, read_line(read, &mut line, most)).await {
                Ok(Ok(true)) => return Ok(line),
                Ok(Ok(false)) => {}
                _ => break,
            }
        }
        Err(NO_REQUEST)
    }

    async fn wait_for_long(&self) -> Result<Long, &'static str> {
        let free = timeout(BUSY_TIME, Arc::clone(&self.long).acquire_owned()).await;
        free.ok().and_then(Result::ok).ok_or(BUSY)
    }
}

/// Reads on up to a newline; false: there is none in the first `most` bytes, which `line` has room for.
async fn read_line(read: &mut OwnedReadHalf, line: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    while line.len() < most {
        let before = line.len();
        if read.read_buf(line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = line[before..].iter().position(|byte| *byte == b'\n') {
            line.truncate(before + end + 1);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a peer may use the socket. `others`: its supplementary groups.
fn may_use(uid: u32, gid: u32, group: Option<Gid>, others: impl FnOnce() -> Vec<u32>) -> bool {
    let uid = Uid::from_raw(uid);
    if uid.is_root() || uid == Uid::effective() {
        return true;
    }
    group.is_some_and(|group| gid == group.as_raw() || others().contains(&group.as_raw()))
}

/// The number of a group by its name or number.
///
/// # Errors
///
/// There is no such group. One sentence.
pub(crate) fn group(name: &str) -> Result<Gid, String> {
    let by_name = Group::from_name(name).ok().flatten().map(|group| group.gid);
    let by_number = || name.parse::<u32>().ok().map(Gid::from_raw);
    by_name
        .or_else(by_number)
        .ok_or_else(|| format!("--status-group {name}: there is no such group"))
}

#[cfg(test)]
mod tests;
