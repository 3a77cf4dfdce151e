//! SO_PEERGROUPS: the supplementary groups of a peer, as they were when it connected.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// asm-generic/socket.h; libc lacks it.
const SO_PEERGROUPS: c_int = 59;
/// The kernel's own limit (NGROUPS_MAX).
const GROUPS_MAX: usize = 65_536;

/// The groups of the process at the other end of a Unix socket.
///
/// # Errors
///
/// As getsockopt(2): before Linux 4.13 there is no such option.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        match read(socket, &mut groups) {
            Ok(count) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err((libc::ERANGE, needed)) if needed > groups.len() && needed <= GROUPS_MAX => {
                groups.resize(needed, 0);
            }
            Err((errno, _)) => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The number of groups; or the error, and how many there are.
fn read(socket: BorrowedFd<'_>, groups: &mut [u32]) -> Result<usize, (i32, usize)> {
    let bytes = size_of_val(groups);
    let mut length = libc::socklen_t::try_from(bytes).expect("at most 256 KiB");
    let (to, size) = (groups.as_mut_ptr().cast(), &raw mut length);
    // SAFETY: the kernel writes at most `length` bytes to `groups`, which is that long and may hold any.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERGROUPS,
            to,
            size,
        )
    };
    let count = length as usize / size_of::<u32>();
    match answer {
        0 => Ok(count),
        _ => Err((
            io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
            count,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getgroups;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_has_the_groups_of_its_process() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let own = getgroups().expect("groups");
        let own: Vec<u32> = own.into_iter().map(|group| group.as_raw()).collect();
        assert_eq!(peer_groups(one.as_fd()).expect("the option"), own);
    }
}
