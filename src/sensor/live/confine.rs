//! The sandbox of a run: as which user, and with which files.

use super::groups::Groups;
use crate::error::Failure;
use crate::host::sandbox::{Collectors, Identity, Paths, Sandbox, host_files};
use crate::log::formats::framing::Transport;
use crate::log::sinks;
use crate::log::sinks::spec::{Target, folder};
use crate::observe::target::MetricsTarget;
use crate::settings::RunConfig;
use crate::settings::file::DEFAULT_PATH;
use std::path::{Path, PathBuf};

/// As whom the run goes on; `None` with `--no-sandbox`. `creates`: files of outputs that are missing are made, by that
/// user, so that it can open them again.
pub(super) fn identity(config: &RunConfig, creates: bool) -> Result<Option<Identity>, String> {
    if !config.sandbox {
        return Ok(None);
    }
    let outputs = &config.common.outputs;
    Identity::choose(config.user.as_deref(), || {
        for output in outputs {
            sinks::would_open(output).map_err(|error| error.to_string())?;
        }
        for responder in &config.common.responders {
            responder.plan.would_open()?;
        }
        for target in &config.metrics {
            target.would_write()?;
        }
        let made = outputs.iter().filter(|_| creates);
        made.map(sinks::create)
            .try_for_each(|made| made.map_err(|error| error.to_string()))
    })
    .map(Some)
}

/// Closes the sandbox around the process. Call it when everything is open, and before other threads start.
pub(super) fn close(
    config: &RunConfig,
    identity: Option<Identity>,
    groups: &Groups<'_>,
) -> Result<Sandbox, Failure> {
    let Some(identity) = identity else {
        return Ok(Sandbox::off());
    };
    let mut read = host_files(&identity);
    read.push(configuration(config));
    let write = written_by(config, &identity);
    let mut paths = Paths {
        read,
        write,
        collectors: collectors(config),
    };
    // Sockets are removed at the end.
    let status = config.status.iter().map(|plan| plan.socket.as_path());
    let metrics = config.metrics.iter().filter_map(MetricsTarget::socket);
    let sockets = status.chain(metrics).chain(config.takeover.as_deref());
    paths
        .write
        .extend(sockets.map(|path| folder(path).to_owned()));
    Sandbox::close(identity, &paths, || groups.counts_filtered())
        .map_err(|error| Failure::Run(format!("sandbox: {error}; --no-sandbox goes without it")))
}

/// Collectors of the outputs.
fn collectors(config: &RunConfig) -> Collectors {
    let mut all = Collectors::default();
    for output in &config.common.outputs {
        if let Target::Collector(endpoint) = &output.target {
            all.udp |= endpoint.transport() == Transport::Udp;
            all.tcp.extend(endpoint.tcp_port());
            all.memory |= endpoint.transport() == Transport::Unix;
        }
    }
    all
}

/// Where outputs may be written: what [`close`] leaves open, by its real path. `None`: everywhere.
pub(super) fn writable(config: &RunConfig, identity: Option<&Identity>) -> Option<Vec<PathBuf>> {
    let written = written_by(config, identity?).into_iter();
    let mut real: Vec<PathBuf> = written
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    real.sort_unstable();
    real.dedup();
    Some(real)
}

fn written_by(config: &RunConfig, identity: &Identity) -> Vec<PathBuf> {
    let may_make = |folder: &Path| identity.may_make_files_in(folder);
    let files = config.files();
    let written = files.iter().flat_map(|target| written(target, may_make));
    written.collect()
}

/// What must stay open to read the configuration file again: its folder, since an editor makes the file anew. Of `/etc`
/// itself, where secrets are, the file alone.
fn configuration(config: &RunConfig) -> PathBuf {
    let file = config.given.file.as_deref();
    let file = file.unwrap_or(Path::new(DEFAULT_PATH));
    match folder(file) {
        etc if etc == Path::new("/etc") || etc == Path::new("/") => file.to_owned(),
        folder => folder.to_owned(),
    }
}

/// What must stay open to write to a target: the folder of a file, since a rotated one is made anew.
///
/// Also the folder above it: so that a folder which somebody removes and makes anew, another one to the kernel, takes
/// the log again. Not where the user `may_make` files of its own there: the folder above would then give away more
/// than logs (a home), nor the root of all.
fn written(target: &Target, may_make: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Target::Path(path) = target else {
        return Vec::new();
    };
    if path.exists() && !path.is_dir() && !path.is_file() {
        return vec![path.clone()];
    }
    let own: &Path = if path.is_dir() { path } else { folder(path) };
    let whole = own.canonicalize().ok();
    let above = whole.as_deref().and_then(Path::parent);
    let above = above.filter(|above| *above != Path::new("/") && !may_make(above));
    let above = above.map(Path::to_owned);
    [own.to_owned()].into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_by_its_folder_and_a_folder_or_device_by_itself() {
        let dir = tempfile::tempdir().expect("a folder");
        let of = |path: &Path| written(&Target::Path(path.to_owned()), |_| true);
        assert_eq!(of(&dir.path().join("new.log")), [dir.path()]);
        std::fs::write(dir.path().join("old.log"), "").expect("a file");
        assert_eq!(of(&dir.path().join("old.log")), [dir.path()]);
        assert_eq!(of(dir.path()), [dir.path()]);
        assert_eq!(of(Path::new("/dev/null")), [Path::new("/dev/null")]);
        assert_eq!(of(Path::new("plain")), [Path::new(".")]);
        assert_eq!(written(&Target::Stdout, |_| true), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_folder_above_is_written_where_the_user_itself_may_make_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).expect("a folder");
        for path in [logs.join("new.log"), logs.clone()] {
            let of = |may: bool| written(&Target::Path(path.clone()), |_| may);
            assert_eq!(of(true), [logs.as_path()]);
            assert_eq!(of(false), [logs.as_path(), dir.path()]);
        }
        // Nothing above but the root of all.
        let top = Target::Path(Path::new("/tmp/new.log").to_owned());
        assert_eq!(written(&top, |_| false), [Path::new("/tmp")]);
    }
}
