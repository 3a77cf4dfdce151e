//! Landlock: the files that the process may open.

use super::Identity;
use crate::host::services::units;
use crate::host::{resolvers, time_servers};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use std::path::{Path, PathBuf};

/// The newest version whose rights are known here. An older kernel has those that it knows.
const NEWEST: ABI = ABI::V6;

/// What a process may open. Missing ones are left out: the kernel knows files, not names.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files, and folders with everything in them.
    pub read: Vec<PathBuf>,
    /// Folders where files may be made, written, renamed and removed; single files to write to.
    pub write: Vec<PathBuf>,
    /// Collectors of outputs.
    pub collectors: Collectors,
}

/// Collectors that the logger may reach by new sockets, since one that was down is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collectors {
    /// Whether there are any over UDP.
    pub udp: bool,
    /// Ports of those over TCP. No other port can be connected to (Landlock, since Linux 6.7).
    pub tcp: Vec<u16>,
    /// Whether there are sockets of this host: large entries of the journal are memory in descriptors.
    pub memory: bool,
}

/// What a sensor reads of this machine while it runs: interfaces, CPUs, sockets, units, name servers, time servers.
///
/// A file of `/etc` that is replaced is another one to the kernel. So the folders may be read, but by root the files
/// alone: root owns `/etc/shadow`, too.
pub(crate) fn host_files(identity: &Identity) -> Vec<PathBuf> {
    let folders = time_servers::FOLDERS.iter().map(|(folder, _)| *folder);
    let files = resolvers::FILES.iter().chain(&time_servers::FILES);
    let files = files.map(|file| match identity.stays_root() {
        true => Path::new(file),
        false => folder(Path::new(file)),
    });
    let fixed = ["/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup"];
    let fixed = fixed.into_iter().chain(folders).map(Path::new);
    let mut all: Vec<PathBuf> = fixed.chain(files).map(Path::to_owned).collect();
    all.extend(units::mount_point());
    all
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Restricts the calling thread, and those that it starts, to these files; TCP connections but those to collectors, new
/// listeners, and signals to other processes are refused, too. `Some`: why it does not.
///
/// # Errors
///
/// One sentence: what the kernel refused.
pub(super) fn restrict(paths: &Paths) -> Result<Option<&'static str>, String> {
    let about = |error: landlock::RulesetError| format!("Landlock: {error}");
    let reads = AccessFs::from_read(NEWEST) & !AccessFs::Execute;
    let writes = reads
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::IoctlDev;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(about)?;
    for path in &paths.read {
        rules = allow(rules, path, reads).map_err(about)?;
    }
    for path in &paths.write {
        rules = allow(rules, path, writes).map_err(about)?;
    }
    for &port in &paths.collectors.tcp {
        let rule = NetPort::new(port, AccessNet::ConnectTcp);
        rules = rules.add_rule(rule).map_err(about)?;
    }
    let status = rules.restrict_self().map_err(about)?;
    Ok(match status.landlock {
        LandlockStatus::NotImplemented => Some("this kernel has no Landlock"),
        LandlockStatus::NotEnabled => Some("Landlock is not enabled: boot with lsm=landlock,..."),
        LandlockStatus::Available { .. } => None,
    })
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(open) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = match path.is_dir() {
        true => access,
        false => access & AccessFs::from_file(NEWEST),
    };
    rules.add_rule(PathBeneath::new(open, access))
}
