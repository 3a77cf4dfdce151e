//! Commands by socket inode: `/proc/PID/fd` has a link `socket:[INODE]` for each socket that a process holds.
//!
//! Without CAP_SYS_PTRACE only the processes of the same user can be read.

use super::ServiceName;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// Maximum number of processes, and of descriptors, that a search looks at.
const PROCESSES_MAX: usize = 16_384;
const DESCRIPTORS_MAX: usize = 65_536;

/// The command (`comm`) of the process with the lowest number that holds each socket; that of process 1 only where no
/// other does: systemd holds the sockets of services that it starts on demand.
pub(super) fn find(proc: &Path, wanted: &HashSet<u32>) -> HashMap<u32, ServiceName> {
    let mut found = HashMap::new();
    let mut descriptors_left = DESCRIPTORS_MAX;
    for process in processes(proc) {
        if found.len() == wanted.len() || descriptors_left == 0 {
            break;
        }
        let folder = proc.join(process.to_string());
        let Ok(entries) = fs::read_dir(folder.join("fd")) else {
            continue;
        };
        let mut command = None;
        for entry in entries.flatten().take(descriptors_left) {
            descriptors_left -= 1;
            let inode = fs::read_link(entry.path()).ok().and_then(|to| inode(&to));
            let Some(inode) = inode.filter(|inode| wanted.contains(inode)) else {
                continue;
            };
            let command = command.get_or_insert_with(|| read_command(&folder));
            if let Some(command) = command {
                found.entry(inode).or_insert_with(|| command.clone());
            }
        }
    }
    found
}

/// Numbers of processes, ascending, 1 last.
fn processes(proc: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let numbers = entries.flatten().filter_map(number);
    let mut numbers: Vec<u32> = numbers.take(PROCESSES_MAX).collect();
    numbers.sort_unstable_by_key(|&number| (number == 1, number));
    numbers
}

fn inode(link: &Path) -> Option<u32> {
    let inside = link.to_str()?.strip_prefix("socket:[")?;
    inside.strip_suffix(']')?.parse().ok()
}

fn read_command(folder: &Path) -> Option<ServiceName> {
    let bytes = fs::read(folder.join("comm")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text.trim_end_matches('\n');
    (!name.is_empty()).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn process(proc: &Path, number: &str, command: &str, links: &[&str]) {
        let folder = proc.join(number).join("fd");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(proc.join(number).join("comm"), command).expect("a file");
        for (at, link) in links.iter().enumerate() {
            symlink(link, folder.join(at.to_string())).expect("a link");
        }
    }

    #[test]
    fn the_first_holder_of_a_socket_names_it_and_process_1_only_what_no_other_holds() {
        let proc = tempfile::tempdir().expect("a folder");
        let proc = proc.path();
        process(proc, "1", "systemd\n", &["socket:[5]", "socket:[6]"]);
        process(proc, "20", "nginx\n", &["/dev/null", "socket:[7]"]);
        process(proc, "100", "worker\n", &["socket:[7]", "socket:[5]"]);
        process(proc, "self", "wrong\n", &["socket:[9]"]);
        process(proc, "30", "\n", &["socket:[8]"]);
        let odd = ["socket:[]", "socket:[x]", "socket:[99", "pipe:[5]"];
        process(proc, "40", "odd\n", &odd);
        let found = find(proc, &HashSet::from([5, 6, 7, 8, 9, 99]));
        let mut found: Vec<_> = found.iter().map(|(at, name)| (*at, &**name)).collect();
        found.sort_unstable();
        assert_eq!(found, [(5, "worker"), (6, "systemd"), (7, "nginx")]);
    }
}
