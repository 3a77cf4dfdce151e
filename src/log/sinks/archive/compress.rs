//! Compresses a closed file, in steps.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Bytes between two looks at what else is to be done.
const STEP_BYTES: usize = 256 << 10;

/// Compresses `plain` to `part`, which becomes `gzip` when it is whole and on the disk; then `plain` is removed. Returns
/// the bytes before and after; `None`: `go_on` was false after a step, and nothing has changed.
///
/// # Errors
///
/// Nothing has changed.
pub fn compress(
    [plain, part, gzip]: [&Path; 3],
    mut go_on: impl FnMut() -> bool,
) -> io::Result<Option<(u64, u64)>> {
    let done = write(plain, part, &mut go_on);
    match done {
        Ok(Some(_)) => {
            fs::rename(part, gzip)?;
            super::unlink(plain)?;
        }
        Ok(None) | Err(_) => super::unlink(part)?,
    }
    done
}

fn write(
    plain: &Path,
    part: &Path,
    go_on: &mut impl FnMut() -> bool,
) -> io::Result<Option<(u64, u64)>> {
    let mut from = OpenOptions::new();
    from.read(true).custom_flags(libc::O_NOFOLLOW);
    let mut from = from.open(plain)?;
    let mut to = OpenOptions::new();
    to.write(true).create_new(true).mode(0o640);
    // The least of work: it pays on a host that has other things to do.
    let mut to = GzEncoder::new(to.open(part)?, Compression::fast());
    let mut step = vec![0; STEP_BYTES];
    let mut bytes = 0;
    loop {
        let count = from.read(&mut step)?;
        if count == 0 {
            break;
        }
        to.write_all(&step[..count])?;
        bytes += count as u64;
        if !go_on() {
            return Ok(None);
        }
    }
    let file = to.finish()?;
    // A crash of the host must not leave an empty one in place of the plain one.
    file.sync_all()?;
    Ok(Some((bytes, file.metadata()?.len())))
}

/// How many bytes a compressed file held, by its end (RFC 1952, ISIZE); right below 4 GiB.
pub fn plain_bytes(gzip: &Path) -> Option<u64> {
    let file = File::open(gzip).ok()?;
    let len = file.metadata().ok()?.len();
    let mut size = [0; 4];
    file.read_exact_at(&mut size, len.checked_sub(4)?).ok()?;
    Some(u64::from(u32::from_le_bytes(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::path::PathBuf;

    fn paths(folder: &tempfile::TempDir) -> [PathBuf; 3] {
        ["log", "log.part", "log.gz"].map(|name| folder.path().join(name))
    }

    #[test]
    fn what_is_compressed_reads_back_and_replaces_the_plain_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let [plain, part, gzip] = paths(&folder);
        let text = "a line\n".repeat(100_000);
        fs::write(&plain, &text).expect("written");
        let mut steps = 0;
        let all = [plain.as_path(), &part, &gzip];
        let done = compress(all, || {
            steps += 1;
            true
        });
        let (before, after) = done.expect("done").expect("whole");
        assert_eq!((before, steps), (text.len() as u64, 3));
        assert_eq!(fs::metadata(&gzip).expect("there").len(), after);
        assert!(after < before / 10 && !plain.exists() && !part.exists());
        assert_eq!(plain_bytes(&gzip), Some(before));
        let mut back = String::new();
        let mut file = MultiGzDecoder::new(File::open(&gzip).expect("there"));
        file.read_to_string(&mut back).expect("whole");
        assert_eq!(back, text);
    }

    #[test]
    fn what_is_stopped_or_fails_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let [plain, part, gzip] = paths(&folder);
        fs::write(&plain, vec![0; 3 * STEP_BYTES]).expect("written");
        let all = [plain.as_path(), &part, &gzip];
        assert_eq!(compress(all, || false).expect("no error"), None);
        let missing = folder.path().join("no/part");
        assert!(compress([&plain, &missing, &gzip], || true).is_err());
        assert!(plain.exists() && !part.exists() && !gzip.exists());
        assert_eq!(plain_bytes(&gzip), None);
    }
}
