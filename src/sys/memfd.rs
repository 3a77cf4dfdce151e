//! Memory in a descriptor, for another process: written once, then sealed, with a check sum over all of it.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes that go to the kernel at once.
const CHUNK: usize = 1 << 20;
/// Bytes of the sum behind the payload.
const SUM: usize = 8;

/// Nobody can change the memory any more.
fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL
}

/// Empty memory, with a name for `/proc`.
///
/// # Errors
///
/// As memfd_create(2).
pub fn create(name: &CStr) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(File::from(memfd_create(name, flags)?))
}

/// Seals the memory: its payload was written by a [`SumWriter`].
///
/// # Errors
///
/// It is mapped to be written, or is no such memory.
pub fn seal(file: &File) -> io::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(())
}

/// The sum of a payload. It detects damage; nobody is kept from forging it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sum: u64,
    bytes: u64,
    /// The first bytes of a word that is not whole yet.
    part: [u8; 8],
}

impl Sum {
    fn mix(&mut self, word: u64) {
        self.sum = (self.sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let held = usize::try_from(self.bytes % 8).expect("below 8");
            if held == 0 && bytes.len() >= 8 {
                let (words, rest) = bytes.as_chunks::<8>();
                words
                    .iter()
                    .for_each(|word| self.mix(u64::from_le_bytes(*word)));
                self.bytes += (bytes.len() - rest.len()) as u64;
                bytes = rest;
                continue;
            }
            self.part[held] = bytes[0];
            self.bytes += 1;
            bytes = &bytes[1..];
            if held == 7 {
                self.mix(u64::from_le_bytes(self.part));
            }
        }
    }

    fn finish(mut self) -> u64 {
        let held = usize::try_from(self.bytes % 8).expect("below 8");
        self.part[held..].fill(0);
        self.mix(u64::from_le_bytes(self.part));
        self.mix(self.bytes);
        self.sum
    }
}

/// Writes a payload and, when it is flushed, its sum: flush it once.
pub struct SumWriter {
    file: File,
    buffer: Vec<u8>,
    sum: Sum,
}

impl SumWriter {
    /// A writer to empty memory.
    pub fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(CHUNK),
            sum: Sum::default(),
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sum.add(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for SumWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > CHUNK {
            self.spill()?;
        }
        if bytes.len() >= CHUNK {
            self.sum.add(bytes);
            self.file.write_all(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spill()?;
        self.file.write_all(&self.sum.finish().to_le_bytes())
    }
}

/// The payload of sealed memory whose sum is right.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`]: it is not sealed, damaged, or no such memory.
pub fn open(fd: OwnedFd) -> io::Result<BufReader<io::Take<File>>> {
    let damaged = |what: &str| io::Error::new(ErrorKind::InvalidData, what);
    let set = fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS).map_err(|errno: Errno| match errno {
        Errno::EINVAL => damaged("it is no memory of another process"),
        errno => errno.into(),
    })?;
    if !SealFlag::from_bits_retain(set).contains(seals()) {
        return Err(damaged("it is not sealed"));
    }
    let mut file = File::from(fd);
    let len = file.metadata()?.len().checked_sub(SUM as u64);
    let len = len.ok_or_else(|| damaged("it is too short"))?;
    file.seek(SeekFrom::Start(0))?;
    let (mut sum, mut left) = (Sum::default(), len);
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact(&mut buffer[..room])?;
        sum.add(&buffer[..room]);
        left -= room as u64;
    }
    let mut stored = [0; SUM];
    file.read_exact(&mut stored)?;
    if sum.finish().to_le_bytes() != stored {
        return Err(damaged("it is damaged: its check sum is wrong"));
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(BufReader::with_capacity(CHUNK, file.take(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn written(payload: &[&[u8]]) -> File {
        let file = create(c"test").expect("memory");
        let mut to = SumWriter::new(file.try_clone().expect("a descriptor"));
        for bytes in payload {
            to.write_all(bytes).expect("written");
        }
        to.flush().expect("written");
        file
    }

    #[test]
    fn what_was_written_in_pieces_is_read_whole() {
        let large = vec![7_u8; CHUNK + 5];
        let some: [&[&[u8]]; 3] = [&[], &[b"a"], &[b"abc", b"defghijklm", &large, b"x"]];
        for pieces in some {
            let file = written(pieces);
            seal(&file).expect("sealed");
            let mut read = Vec::new();
            let mut from = open(file.into()).expect("whole");
            from.read_to_end(&mut read).expect("read");
            assert!(read == pieces.concat());
        }
    }

    #[test]
    fn what_is_damaged_open_or_no_memory_is_refused() {
        let refused = |file: File| open(file.into()).expect_err("refused").to_string();
        assert_eq!(refused(written(&[b"abc"])), "it is not sealed");
        for at in 0..11 {
            let file = written(&[b"abc"]);
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("a byte");
            file.write_all_at(&[byte[0] ^ 1], at).expect("written");
            seal(&file).expect("sealed");
            assert!(refused(file).contains("damaged"), "byte {at}");
        }
        let short = create(c"test").expect("memory");
        seal(&short).expect("sealed");
        assert_eq!(refused(short), "it is too short");
        let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let error = open(OwnedFd::from(socket)).expect_err("no memory");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
