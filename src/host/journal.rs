//! Whether a stream of this process is the journal of the service manager.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the stream at `path` (such as `/proc/self/fd/1`) is the journal: JOURNAL_STREAM has its device and inode.
///
/// systemd sets the variable for every service whose output goes there. A stream that was redirected since is another
/// file.
pub fn is_at(path: &Path) -> bool {
    env::var_os("JOURNAL_STREAM").is_some_and(|stream| is_stream(&stream, path))
}

/// Whether `stream`, as `DEVICE:INODE` in decimal, is the file at `path`.
fn is_stream(stream: &OsStr, path: &Path) -> bool {
    let numbers = |text: &str| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    };
    let file = fs::metadata(path).ok();
    let file = file.map(|about| (about.dev(), about.ino()));
    file.is_some() && stream.to_str().and_then(numbers) == file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_journal_if_device_and_inode_are_the_same() {
        let (file, other) = (
            tempfile::NamedTempFile::new(),
            tempfile::NamedTempFile::new(),
        );
        let (file, other) = (file.expect("a file"), other.expect("a file"));
        let about = file.path().metadata().expect("it is there");
        let is = |stream: &str, path: &Path| is_stream(OsStr::new(stream), path);
        let right = format!("{}:{}", about.dev(), about.ino());
        assert!(is(&right, file.path()));
        assert!(!is(&right, other.path()));
        assert!(!is(&right, Path::new("/nowhere")));
        for wrong in ["", ":", "1:", ":1", "x:y", "1", "-1:1", "1:1:1"] {
            assert!(!is(wrong, file.path()), "{wrong}");
            assert!(!is(wrong, Path::new("/nowhere")), "{wrong}");
        }
    }
}
