//! A process that looks for the holders of sockets with privileges that the sensor gives up.
//!
//! ```text
//! sensor ── Finder ── socket pair ── finder
//!           number, inodes ─▶         reads /proc
//!           ◀─ number, inodes with commands
//! ```
//!
//! It holds CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and opens files to read alone. All that the sensor can say to it is
//! which inodes it means; all that it says is their commands. It ends with the sensor.

use super::{ServiceName, commands};
use crate::host::helper;
use crate::host::sandbox::{Thread, capabilities};
use caps::Capability;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::socket::{MsgFlags, SockType, getsockopt, recv, send, sockopt};
use std::collections::{HashMap, HashSet};
use std::io::{self, stdin};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;

/// First argument of the process.
pub const FINDER: &str = "name-helper";

const NEEDS: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
/// Longest wait for an answer.
const PATIENCE_MS: u16 = 3_000;
/// Most inodes of a question; others have no name.
const INODES_MAX: usize = 4_096;
/// A question or answer: a number of four bytes, then at most 20 bytes for each inode.
const BYTES_MAX: usize = 4 + INODES_MAX * 20;
/// The kernel cuts a command to so many bytes (TASK_COMM_LEN - 1).
const COMMAND_BYTES_MAX: usize = 15;

/// The process, as the sensor has it.
#[derive(Debug)]
pub(crate) struct Finder {
    socket: OwnedFd,
    asked: u32,
    /// Never waited for: it ends after the sensor.
    _child: Child,
}

impl Finder {
    /// Starts it from `program`, which is `/proc/self/exe` but in tests; `None` without its capabilities, with which the
    /// sensor itself would find no more than without. Call it before the sandbox is closed.
    ///
    /// # Errors
    ///
    /// Those of starting a process.
    pub(crate) fn start(program: &Path) -> io::Result<Option<Self>> {
        if !NEEDS.into_iter().all(capabilities::has) {
            return Ok(None);
        }
        let (child, socket) = helper::start(program, &[FINDER.to_owned()])?;
        Ok(Some(Self {
            socket,
            asked: 0,
            _child: child,
        }))
    }

    /// The commands of the processes that hold these sockets, as [`commands::find`]; none if the process is gone.
    pub(super) fn find(&mut self, wanted: &HashSet<u32>) -> HashMap<u32, ServiceName> {
        self.asked = self.asked.wrapping_add(1);
        let inodes = wanted.iter().take(INODES_MAX);
        let words = std::iter::once(&self.asked).chain(inodes);
        let question: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if send(fd, &question, flags).is_err() {
            return HashMap::new();
        }
        let mut buffer = vec![0; BYTES_MAX];
        loop {
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            if !poll(&mut fds, PollTimeout::from(PATIENCE_MS)).is_ok_and(|ready| ready > 0) {
                return HashMap::new();
            }
            let Ok(length @ 4..) = recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT) else {
                return HashMap::new();
            };
            // A late answer to an earlier question has another number.
            if let Some(found) = parse_answer(&buffer[..length], self.asked) {
                return found;
            }
        }
    }
}

/// The answer to question number `asked`; what is cut off is left out.
fn parse_answer(answer: &[u8], asked: u32) -> Option<HashMap<u32, ServiceName>> {
    let (number, mut rest) = answer.split_first_chunk::<4>()?;
    if u32::from_ne_bytes(*number) != asked {
        return None;
    }
    let mut found = HashMap::new();
    while let Some((inode, after)) = rest.split_first_chunk::<4>()
        && let Some((length, after)) = after.split_first()
        && let Some((name, after)) = after.split_at_checked(usize::from(*length))
    {
        let name = String::from_utf8_lossy(name);
        found.insert(u32::from_ne_bytes(*inode), ServiceName::from(name));
        rest = after;
    }
    Some(found)
}

fn encode_answer(number: [u8; 4], found: &HashMap<u32, ServiceName>) -> Vec<u8> {
    let mut answer = number.to_vec();
    for (inode, name) in found {
        let end = name.floor_char_boundary(COMMAND_BYTES_MAX);
        answer.extend(inode.to_ne_bytes());
        answer.push(u8::try_from(end).expect("at most 15"));
        answer.extend(&name.as_bytes()[..end]);
    }
    answer
}

/// Runs the process until the sensor ends. Returns its exit code, and what to say if it could not work.
pub fn serve() -> (u8, Option<String>) {
    let input = stdin();
    let socket = input.as_fd();
    let ours = getsockopt(&socket, sockopt::SockType) == Ok(SockType::SeqPacket);
    if !ours {
        return (2, Some(format!("{FINDER} is started by synledger itself")));
    }
    helper::ignore_stop_signals();
    helper::close_other_descriptors();
    let _ = prctl::set_name(c"synledger-names");
    let _ = prctl::set_dumpable(false);
    let confined = capabilities::keep_only(&NEEDS, false)
        .and_then(|()| crate::host::sandbox::filter_alone(Thread::Finder));
    if let Err(why) = confined {
        return (1, Some(format!("services are not named: {why}")));
    }
    while let Some((number, wanted)) = receive(socket) {
        let found = commands::find(Path::new("/proc"), &wanted);
        let answer = encode_answer(number, &found);
        // A sensor that is gone is no fault.
        let _ = send(socket.as_raw_fd(), &answer, MsgFlags::MSG_NOSIGNAL);
    }
    (0, None)
}

/// The next question: its number, and inodes. `None`: the sensor is gone.
fn receive(socket: BorrowedFd<'_>) -> Option<([u8; 4], HashSet<u32>)> {
    let mut buffer = vec![0; BYTES_MAX];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => return None,
            Ok(length) => length,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return None,
        };
        if let Some((number, inodes)) = buffer[..length].split_first_chunk::<4>() {
            let (inodes, _) = inodes.as_chunks::<4>();
            let inodes = inodes.iter().map(|bytes| u32::from_ne_bytes(*bytes));
            return Some((*number, inodes.collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written_and_a_cut_one_as_far_as_it_is_whole() {
        let names = [(7, "nginx"), (8, "a-command-of-fifteen-bytes"), (9, "é")];
        let names = names.map(|(inode, name)| (inode, ServiceName::from(name)));
        let found = HashMap::from(names);
        let answer = encode_answer(5_u32.to_ne_bytes(), &found);
        let read = parse_answer(&answer, 5).expect("its number");
        assert_eq!(read.len(), 3);
        assert_eq!((&*read[&7], &*read[&8]), ("nginx", "a-command-of-fi"));
        assert_eq!(parse_answer(&answer, 6), None, "another question's");
        for cut in 0..answer.len() {
            let read = parse_answer(&answer[..cut], 5);
            assert!(read.is_none_or(|read| read.len() < 3), "{cut}");
        }
    }

    #[test]
    fn a_question_of_the_most_inodes_fits() {
        let found = (0..4096).map(|inode| (inode, ServiceName::from("fifteen-letters")));
        let answer = encode_answer([0; 4], &found.collect());
        assert_eq!(answer.len(), BYTES_MAX);
    }
}
