//! systemd units by cgroup id: the id is the inode of a folder of the cgroup2 file system.

use super::ServiceName;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// Maximum number of cgroups that a search looks at.
const CGROUPS_MAX: usize = 16_384;
/// Maximum depth of a cgroup below the root.
const DEPTH_MAX: usize = 32;
const SUFFIX: &str = ".service";

/// The first cgroup2 file system that is mounted here.
pub(in crate::host) fn mount_point() -> Option<PathBuf> {
    mount_point_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Reads `/proc/self/mountinfo`. Source: proc_pid_mountinfo(5).
fn mount_point_in(mountinfo: &str) -> Option<PathBuf> {
    let line = |line: &str| {
        let (mount, system) = line.split_once(" - ")?;
        let is_cgroup2 = system.split(' ').next() == Some("cgroup2");
        let point = mount.split(' ').nth(4)?;
        // A path with an escape (`\040` for a blank) is none that systemd uses.
        (is_cgroup2 && !point.contains('\\')).then(|| PathBuf::from(point))
    };
    mountinfo.lines().find_map(line)
}

/// The units of these cgroup ids: the last `*.service` in the path of each below `root`.
///
/// An id is missing if its cgroup is not found, or in no service.
pub(super) fn find(root: &Path, wanted: &HashSet<u64>) -> HashMap<u64, ServiceName> {
    let mut found = HashMap::new();
    let mut left: Vec<(PathBuf, usize, Option<ServiceName>)> = vec![(root.to_owned(), 0, None)];
    let (mut seen, mut looked_at) = (0, 0);
    while let Some((path, depth, unit)) = left.pop() {
        // A cgroup that has ended meanwhile has no entries.
        let Ok(entries) = fs::read_dir(&path) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            looked_at += 1;
            if looked_at > CGROUPS_MAX || seen == wanted.len() {
                return found;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let unit = match name.ends_with(SUFFIX) {
                true => Some(ServiceName::from(&*name)),
                false => unit.clone(),
            };
            if wanted.contains(&entry.ino()) {
                seen += 1;
                found.extend(unit.clone().map(|unit| (entry.ino(), unit)));
            }
            if depth < DEPTH_MAX {
                left.push((entry.path(), depth + 1, unit));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_last_service_of_the_path_names_the_unit() {
        let root = tempfile::tempdir().expect("a folder");
        let inode = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(&path).expect("a folder");
            fs::metadata(path).expect("it is there").ino()
        };
        let plain = inode("system.slice/nginx.service");
        let inner = inode("system.slice/docker.service/init/worker");
        let nested = inode("user.slice/user-1.slice/user@1.service/app.slice/web.service");
        let scope = inode("user.slice/user-1.slice/session-2.scope");
        let wanted = HashSet::from([plain, inner, nested, scope, u64::MAX]);
        let found = find(root.path(), &wanted);
        let unit = |id| found.get(&id).map(|name| &**name);
        assert_eq!(unit(plain), Some("nginx.service"));
        assert_eq!(unit(inner), Some("docker.service"));
        assert_eq!(unit(nested), Some("web.service"));
        assert_eq!((unit(scope), unit(u64::MAX)), (None, None));
        assert_eq!(find(Path::new("/no/such/folder"), &wanted), HashMap::new());
    }

    #[test]
    fn a_link_is_not_followed_and_depth_is_bounded() {
        let root = tempfile::tempdir().expect("a folder");
        let mut deep = root.path().join("a.service");
        for _ in 0..=DEPTH_MAX {
            deep.push("d");
        }
        fs::create_dir_all(&deep).expect("folders");
        let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
        let lowest = inode(&deep);
        let above = inode(deep.parent().expect("a parent"));
        std::os::unix::fs::symlink(root.path(), root.path().join("loop.service")).expect("a link");
        let found = find(root.path(), &HashSet::from([lowest, above]));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [above]);
    }

    #[test]
    fn the_mount_point_is_that_of_cgroup2() {
        let text = "\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:23 / /sys/fs/cgroup/cpu rw shared:3 - cgroup cgroup rw,cpu
34 24 0:31 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw
35 24 0:31 / /sys/fs/cgroup/unified rw shared:9 master:1 - cgroup2 cgroup2 rw
";
        let found = mount_point_in(text).expect("a mount");
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified"));
        for cut in 0..text.len() {
            let _ = mount_point_in(&text[..cut]);
        }
        assert_eq!(mount_point_in("a - cgroup2 b\n"), None);
    }
}
