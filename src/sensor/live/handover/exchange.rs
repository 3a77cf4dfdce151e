//! `--takeover PATH`: the running process listens there, and the next one asks it for all that it has.
//!
//! ```text
//! next     Ask (terms)                    Taken or Refused
//! running              Here (descriptors)                   ends, or goes on after anything but Taken
//!                      No (why)           ends its records and stops
//! ```

use super::Lent;
use super::state::Terms;
use super::take::Inherited;
use crate::sys::passing;
use crate::words::shown;
use borsh::BorshDeserialize as _;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nobody waits longer for the other side: meanwhile no ring is read.
const PATIENCE: Duration = Duration::from_secs(5);
/// The process that is not taken over ends its records first.
const STOPS: Duration = Duration::from_secs(60);
/// The longest message.
const MESSAGE_MAX: u32 = 1 << 20;
/// Descriptors of one message: fewer than [`passing::MOST`].
const AT_ONCE: usize = 200;

const ASK: u8 = b'A';
const NO: u8 = b'N';
const HERE: u8 = b'H';
const TAKEN: u8 = b'T';
const REFUSED: u8 = b'R';

/// The socket at which this process can be taken over.
#[derive(Debug)]
pub(in crate::sensor::live) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// The file at the path is another process's now.
    is_left: bool,
}

impl Door {
    /// Listens at `path`, whose file is replaced if nobody listens there.
    ///
    /// # Errors
    ///
    /// One sentence with the path.
    pub(in crate::sensor::live) fn open(path: &Path) -> Result<Self, String> {
        let about = |error: io::Error| format!("--takeover {}: {error}", shown(path));
        match fs::symlink_metadata(path) {
            Ok(known) if !known.file_type().is_socket() => {
                let path = shown(path);
                return Err(format!(
                    "--takeover {path}: a file that is no socket is there: name another path"
                ));
            }
            Ok(_) => fs::remove_file(path).map_err(about)?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(about)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(about)?;
        listener.set_nonblocking(true).map_err(about)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            is_left: false,
        })
    }

    /// A process that asks, if one does and may: this user's or root's.
    pub(in crate::sensor::live) fn visitor(&self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).ok()?;
        (may_talk(&stream) && be_patient(&stream, PATIENCE).is_ok()).then_some(stream)
    }

    /// The next process listens there.
    pub(in crate::sensor::live) fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.is_left {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the process at the other end is this user's, or root's.
fn may_talk(stream: &UnixStream) -> bool {
    let peer = getsockopt(stream, PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

fn be_patient(stream: &UnixStream, time: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))
}

fn send(mut stream: &UnixStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut message = vec![kind];
    message.extend(len.to_le_bytes());
    message.extend(payload);
    stream.write_all(&message)
}

fn receive(mut stream: &UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, len @ ..] = head;
    let len = u32::from_le_bytes(len);
    if len > MESSAGE_MAX {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "a message is too long",
        ));
    }
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload)?;
    Ok((kind, payload))
}

fn text(payload: &[u8]) -> String {
    crate::words::printable(&String::from_utf8_lossy(payload)).into_owned()
}

/// The terms of a process that asks.
pub(in crate::sensor::live) fn asked(stream: &UnixStream) -> Result<Terms, String> {
    match receive(stream) {
        Ok((ASK, payload)) => Terms::try_from_slice(&payload).map_err(|error| error.to_string()),
        Ok(_) => Err("it asks for something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Tells a process that asks to start anew.
pub(in crate::sensor::live) fn refuse(stream: &UnixStream, why: &str) {
    let _ = send(stream, NO, why.as_bytes());
}

/// Gives all descriptors away. Returns once the other process has said that it has them all.
///
/// # Errors
///
/// One sentence: it has not.
pub(in crate::sensor::live) fn give(stream: &UnixStream, named: &Lent<'_>) -> Result<(), String> {
    let names: Vec<&String> = named.iter().map(|(name, _)| name).collect();
    let answer = (|| {
        send(stream, HERE, &borsh::to_vec(&names)?)?;
        for some in named.chunks(AT_ONCE) {
            let fds: Vec<BorrowedFd<'_>> = some.iter().map(|(_, fd)| *fd).collect();
            passing::send(stream.as_fd(), &[HERE], &fds)?;
        }
        receive(stream)
    })();
    match answer {
        Ok((TAKEN, _)) => Ok(()),
        Ok((REFUSED, why)) => Err(text(&why)),
        Ok(_) => Err("the other process does not say that it has all".to_owned()),
        Err(error) => Err(format!("the other process does not answer: {error}")),
    }
}

/// What the process at the path has said.
pub(in crate::sensor::live) enum Answer {
    /// Nobody listens there.
    Nobody,
    /// It has ended its records and stopped: why nothing is taken over.
    Stopped(String),
    /// All that it had.
    Taken(Box<Inherited>),
}

/// Asks the process at `path` for all that it has, and waits until it has ended.
///
/// # Errors
///
/// One sentence with the path: it goes on.
pub(in crate::sensor::live) fn ask(
    path: &Path,
    terms: &Terms,
    workers: usize,
) -> Result<Answer, String> {
    let about = |why: &dyn std::fmt::Display| format!("--takeover {}: {why}", shown(path));
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(Answer::Nobody);
        }
        Err(error) => return Err(about(&error)),
    };
    if !may_talk(&stream) {
        return Err(about(
            &"another user's process listens there: name another path",
        ));
    }
    let answer = (|| {
        be_patient(&stream, STOPS)?;
        send(&stream, ASK, &borsh::to_vec(terms)?)?;
        receive(&stream)
    })();
    match answer.map_err(|error| about(&format!("the process there does not answer: {error}")))? {
        (NO, why) => {
            wait_for_end(&stream, STOPS).map_err(|error| about(&error))?;
            Ok(Answer::Stopped(text(&why)))
        }
        (HERE, names) => {
            let taken = take(&stream, &names, terms, workers);
            let (kind, why) = match &taken {
                Ok(_) => (TAKEN, ""),
                Err(why) => (REFUSED, why.as_str()),
            };
            send(&stream, kind, why.as_bytes()).map_err(|error| about(&error))?;
            let taken = taken.map_err(|why| about(&format!("nothing is taken over: {why}")))?;
            wait_for_end(&stream, STOPS).map_err(|error| about(&error))?;
            Ok(Answer::Taken(Box::new(taken)))
        }
        _ => Err(about(&"the process there says something else")),
    }
}

fn take(
    stream: &UnixStream,
    names: &[u8],
    terms: &Terms,
    workers: usize,
) -> Result<Inherited, String> {
    let names = Vec::<String>::try_from_slice(names).map_err(|error| error.to_string())?;
    let mut fds = Vec::new();
    while fds.len() < names.len() {
        let count = passing::receive(stream.as_fd(), &mut [0], &mut fds);
        if count.map_err(|error| error.to_string())? == 0 {
            return Err("the process there has ended".to_owned());
        }
    }
    Inherited::open(terms, names.into_iter().zip(fds).collect(), workers)
}

/// The kernel closes the other end when the process is gone, with all that it had.
fn wait_for_end(mut stream: &UnixStream, time: Duration) -> Result<(), String> {
    let waited = be_patient(stream, time).and_then(|()| stream.read(&mut [0]));
    match waited {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        _ => Err("the process there does not end".to_owned()),
    }
}
