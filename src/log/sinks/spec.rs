//! Parses `--output KIND:TARGET[,events=connection+alert+flow+stats+lifecycle+block]`.

use super::endpoint::{CollectorOptions, Endpoint};
use super::rotation::{FILE_BYTES_MIN, KEEP_ALLOWED, ROTATE_ALLOWED, Rotation, Size, least, share};
use super::spool::Spool;
use crate::books::record_kind::EventKind;
use crate::error::ConfigError;
use crate::log::formats::framing::{Messaging, Transport};
use crate::log::formats::text::{TEXT, TextFormat};
use crate::log::formats::{FORMATS, Registered, SinkKind};
use crate::words::shown;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Records of lines to the journal without `events=`.
pub(crate) const JOURNAL_EVENTS: &[EventKind] =
    &[EventKind::Alert, EventKind::Lifecycle, EventKind::Block];

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output: `-`, `/dev/stdout` and its other names.
    Stdout,
    /// Standard error: `/dev/stderr` and its other names.
    Stderr,
    /// A file, created if it is missing, else appended to; or a folder.
    Path(PathBuf),
    /// A collector, or a socket of this host.
    Collector(Endpoint),
}

impl Target {
    /// The target that `text` names. Standard output is never opened by its name: the name is a symbolic link, and
    /// a file behind it would be overwritten from its start.
    fn of(text: &str) -> Self {
        match text {
            "-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Self::Stdout,
            "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Self::Stderr,
            path => Self::Path(path.into()),
        }
    }

    /// The path that was named; for a standard stream, a path to it.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            // No file has an empty path.
            Self::Collector(_) => Path::new(""),
            Self::Stdout => Path::new("/proc/self/fd/1"),
            Self::Stderr => Path::new("/proc/self/fd/2"),
        }
    }

    /// How messages to it travel.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self {
            Self::Collector(endpoint) => Some(endpoint.transport()),
            Self::Stdout | Self::Stderr | Self::Path(_) => None,
        }
    }

    /// Whether both are one file, under whatever names. A file that is missing is known by its folder and name.
    fn is_same_file(&self, other: &Self) -> bool {
        let missing = |target: &Self| match target {
            Self::Path(path) => Some((identity(folder(path))?, path.file_name()?.to_owned())),
            Self::Stdout | Self::Stderr | Self::Collector(_) => None,
        };
        // The parent process may have sent both standard streams to one file on purpose.
        if self == other || self.is_inherited() && other.is_inherited() {
            return self == other;
        }
        match (identity(self.path()), identity(other.path())) {
            (None, None) => missing(self).is_some_and(|place| missing(other) == Some(place)),
            (here, there) => here == there,
        }
    }

    /// Whether it is a folder, and the file lies directly in it.
    fn holds(&self, file: &Self) -> bool {
        let (own, other) = (self.path(), file.path());
        own.is_dir()
            && !other.is_dir()
            && identity(own).is_some_and(|here| identity(folder(other)) == Some(here))
    }

    /// Whether the parent process opened it: a reader that closes it does not come back.
    pub fn is_inherited(&self) -> bool {
        matches!(self, Self::Stdout | Self::Stderr)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::Stderr => f.write_str("/dev/stderr"),
            Self::Path(path) => f.write_str(&shown(path)),
            Self::Collector(endpoint) => endpoint.fmt(f),
        }
    }
}

/// A set of event kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSet(u8);

impl EventSet {
    pub(crate) fn of(kinds: &[EventKind]) -> Self {
        Self(kinds.iter().fold(0, |set, &kind| set | 1 << kind as u8))
    }

    pub(crate) fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// One `--output`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// One of [`FORMATS`].
    pub format: &'static Registered,
    /// Standard output, standard error or a file.
    pub target: Target,
    /// The records it gets. Without `events=`, the default of its format.
    pub events: EventSet,
    /// It gets interim records of flows, and no record of a whole flow that has some.
    pub parts: bool,
    /// When files are closed, and how many closed ones are kept.
    pub rotation: Rotation,
    /// `--text-format`; `None`: `short` for standard output and terminals, `full` for files.
    pub text_format: Option<TextFormat>,
    /// `without_bursts` has changed `events`.
    pub is_journal: bool,
    /// Of outputs to collectors.
    pub collector: CollectorOptions,
    /// Of outputs to segments, whose target is the spool's folder.
    pub spool: Option<Spool>,
}

impl Default for OutputSpec {
    /// `text:-`
    fn default() -> Self {
        Self {
            format: &TEXT,
            target: Target::Stdout,
            events: EventSet::of(TEXT.events),
            parts: TEXT.parts,
            rotation: Rotation::default(),
            text_format: None,
            is_journal: false,
            collector: CollectorOptions::default(),
            spool: None,
        }
    }
}

impl FromStr for OutputSpec {
    type Err = ConfigError;

    /// Reads one value. A path ends at the first comma.
    fn from_str(value: &str) -> Result<Self, ConfigError> {
        let error = |wrong: String, allowed: &str| {
            ConfigError(format!("--output {value}: {wrong}; allowed: {allowed}"))
        };
        let forms = &FORMATS.map(Registered::forms).join(" ");
        let Some((kind, rest)) = value.split_once(':') else {
            return Err(error("KIND:TARGET has no colon".into(), forms));
        };
        let Some(format) = FORMATS.into_iter().find(|format| format.word == kind) else {
            let wrong = format!("unknown kind \"{kind}\"");
            let words = FORMATS.map(|format| format.word);
            return Err(error(wrong, &words.join(", ")));
        };
        let mut parts = rest.split(',');
        let text = parts.next().unwrap_or_default();
        let target = target(format, text).map_err(|wrong| error(wrong, &format.forms()))?;
        let spool = spool(format, text).map_err(|wrong| error(wrong, &format.forms()))?;
        let mut spec = Self {
            format,
            target,
            events: EventSet::of(format.events),
            parts: format.parts,
            rotation: Rotation::default(),
            text_format: None,
            is_journal: false,
            collector: CollectorOptions::default(),
            spool,
        };
        let allowed = format!("{}, each once", spec.options().join("; "));
        let in_files = spec.is_rotatable();
        read_options(parts, allowed, |name, value| {
            let allowed = |allowed: &'static str| move |wrong| (wrong, allowed.to_owned());
            match name {
                "events" => spec.events = event_set(format, value)?,
                "rotate" if in_files => {
                    let set = spec.rotation.set_rotate(value);
                    set.map_err(allowed(ROTATE_ALLOWED))?;
                }
                "keep" if in_files => {
                    let set = spec.rotation.set_keep(value);
                    set.map_err(allowed(KEEP_ALLOWED))?;
                }
                _ => return spec.set_own(name, value),
            }
            Ok(true)
        })
        .map_err(|(wrong, allowed)| error(wrong, &allowed))?;
        let allowed = [ROTATE_ALLOWED, KEEP_ALLOWED].join("; ");
        let fits = spec.rotation.fit();
        fits.map_err(|wrong| error(wrong, &allowed))?;
        if let Some(spool) = &spec.spool {
            let fits = spool.fit();
            fits.map_err(|(wrong, allowed)| error(wrong, &allowed))?;
            spec.target = Target::Path(spool.folder());
        }
        Ok(spec)
    }
}

impl OutputSpec {
    /// Its name in the books: kind and target.
    pub fn name(&self) -> String {
        match &self.spool {
            Some(spool) => format!("{}:{}", self.format.word, spool.to),
            None => format!("{}:{}", self.format.word, self.target),
        }
    }

    /// Lines to the journal without `events=` are those that never come in bursts: journald drops bursts, after they
    /// were counted as written. `value`: this `--output`; `is_journal`: whether a path is the journal.
    #[must_use]
    pub(crate) fn without_bursts(self, value: &str, is_journal: impl Fn(&Path) -> bool) -> Self {
        let is_stream = self.format == &TEXT && self.target.is_inherited();
        // A path ends at the first comma.
        let is_asked = value.contains(",events=");
        if !is_stream || is_asked || !is_journal(self.target.path()) {
            return self;
        }
        Self {
            events: EventSet::of(JOURNAL_EVENTS),
            is_journal: true,
            ..self
        }
    }

    /// Whether it has files that `rotate=` closes.
    fn is_rotatable(&self) -> bool {
        matches!(self.target, Target::Path(_)) && self.spool.is_none()
    }

    /// Sets an option of outputs to collectors or segments. False: there is no such option.
    fn set_own(&mut self, name: &str, value: &str) -> Result<bool, (String, String)> {
        if let Some(spool) = &mut self.spool {
            return spool.set(name, value);
        }
        let Some(of) = self.collector_of() else {
            return Ok(false);
        };
        match self.collector.set(of, name, value) {
            None => Ok(false),
            Some(set) => set
                .map(|()| true)
                .map_err(|(wrong, allowed)| (wrong, allowed.to_owned())),
        }
    }

    fn collector_of(&self) -> Option<(&'static Messaging, Transport)> {
        match (self.format.sink_kind, &self.target) {
            (SinkKind::Messages(how), Target::Collector(endpoint)) => {
                Some((how, endpoint.transport()))
            }
            _ => None,
        }
    }

    /// The options of its format, each with its allowed values.
    fn options(&self) -> Vec<String> {
        let mut options = vec![format!("events={}", words_of(self.format.renders, "+"))];
        if self.is_rotatable() {
            options.extend([ROTATE_ALLOWED, KEEP_ALLOWED].map(str::to_owned));
        }
        if let Some(spool) = &self.spool {
            options.extend(spool.allowed().into_iter().map(str::to_owned));
        }
        if let Some((how, transport)) = self.collector_of() {
            let allowed = CollectorOptions::allowed(how, transport);
            options.extend(allowed.into_iter().map(str::to_owned));
        }
        options
    }
}

/// Gives files that share a budget, and have no size, one.
///
/// # Errors
///
/// No output is rotated, or the budget is too small: names the smallest that works.
pub(crate) fn share_budget(outputs: &mut [OutputSpec], budget: u64) -> Result<(), String> {
    let flag = format!("--log-budget {}", Size(budget));
    let rotated = outputs.iter_mut().filter(|output| output.rotation.is_on());
    let mut rotated: Vec<_> = rotated.collect();
    if rotated.is_empty() {
        return Err(format!(
            "{flag}: no output is rotated; add rotate= to an --output: {ROTATE_ALLOWED}"
        ));
    }
    let least_of = |output: &OutputSpec, bytes: u64| least(bytes) * output.format.buffers() as u64;
    let (mut sized, mut unsized_files) = (0_u64, 0);
    for output in &rotated {
        match output.rotation.bytes {
            Some(bytes) => sized += least_of(output, bytes),
            None => unsized_files += output.format.buffers() as u64,
        }
    }
    let smallest = sized + least(FILE_BYTES_MIN) * unsized_files;
    if budget < smallest {
        return Err(format!(
            "{flag}: too small for four files of each output; the smallest that works here is {}",
            Size(smallest)
        ));
    }
    let bytes = share(budget - sized, unsized_files);
    for output in &mut rotated {
        output.rotation.bytes.get_or_insert(bytes);
    }
    Ok(())
}

/// Reads `NAME=VALUE` options. `set` returns false for a name that it does not know.
///
/// # Errors
///
/// What is wrong, and what is allowed: a repeated or unknown option, or the error of `set`.
pub(crate) fn read_options<'a, A>(
    options: impl Iterator<Item = &'a str>,
    allowed: A,
    mut set: impl FnMut(&str, &str) -> Result<bool, (String, A)>,
) -> Result<(), (String, A)> {
    let mut seen = Vec::new();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if seen.contains(&name) {
            return Err((format!("repeated option \"{option}\""), allowed));
        }
        if !set(name, value)? {
            return Err((format!("unknown option \"{option}\""), allowed));
        }
        seen.push(name);
    }
    Ok(())
}

/// The target of a format: the text after the colon.
fn target(format: &Registered, text: &str) -> Result<Target, String> {
    match (format.sink_kind, text) {
        (SinkKind::Messages(how), text) => Endpoint::parse(text, how).map(Target::Collector),
        (_, "") => Err("the target is empty".into()),
        (SinkKind::Lines, text) if text.ends_with('/') => {
            Err("the target ends with a slash: name a file".into())
        }
        (SinkKind::Lines, text) => Ok(Target::of(text)),
        (SinkKind::Files(_), text) => match Target::of(text) {
            Target::Path(path) => Ok(Target::Path(path)),
            _ => Err("it writes several files: name a folder".into()),
        },
        (SinkKind::Segments, text) => Ok(Target::Path(text.into())),
    }
}

/// The spool of a format that has segments.
fn spool(format: &Registered, text: &str) -> Result<Option<Spool>, String> {
    match format.sink_kind {
        SinkKind::Segments => Spool::of(text).map(Some),
        _ => Ok(None),
    }
}

fn words_of(kinds: &[EventKind], between: &str) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    words.join(between)
}

fn event_set(format: &Registered, list: &str) -> Result<EventSet, (String, String)> {
    let mut set = EventSet(0);
    for word in list.split('+') {
        let allowed = || format!("{}, joined by +", words_of(format.renders, ", "));
        let Ok(kind) = word.parse() else {
            return Err((format!("unknown event \"{word}\""), allowed()));
        };
        if !format.renders.contains(&kind) {
            let wrong = format!("{} carries no {word}", format.word);
            return Err((wrong, allowed()));
        }
        set.0 |= EventSet::of(&[kind]).0;
    }
    Ok(set)
}

/// The folder of a file.
pub(crate) fn folder(path: &Path) -> &Path {
    let folder = path.parent();
    let named = folder.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// Device and inode, the same for every name of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}

/// Refuses two outputs to one file: their lines would mix.
///
/// # Errors
///
/// Names the target, and the way out.
pub(crate) fn apart(targets: &[Target]) -> Result<(), String> {
    for (at, target) in targets.iter().enumerate() {
        // Two protocols may go to one port. Nobody reads /dev/null.
        if matches!(target, Target::Collector(_)) {
            continue;
        }
        if identity(target.path())
            .is_some_and(|file| Some(file) == identity(Path::new("/dev/null")))
        {
            continue;
        }
        if let Some(other) = targets[..at]
            .iter()
            .find(|other| other.is_same_file(target))
        {
            let named = |target: &Target| match target {
                Target::Stdout => "standard output".to_owned(),
                Target::Stderr => "standard error".to_owned(),
                Target::Path(_) | Target::Collector(_) => target.to_string(),
            };
            let what = match other == target {
                true => format!("{} is named twice", named(target)),
                false => format!("{} and {} are one file", named(other), named(target)),
            };
            return Err(format!(
                "--output: {what}; two outputs in one file would mix their lines: name another"
            ));
        }
        if let Some(other) = targets.iter().find(|other| other.holds(target)) {
            return Err(format!(
                "--output: {target} lies in {other}, whose files another output opens, renames and removes: name a \
                 file elsewhere"
            ));
        }
    }
    Ok(())
}

/// Refuses an output to one of these captures, under any name: a log appended to it would destroy it.
///
/// # Errors
///
/// Names the file, and the way out.
pub(crate) fn apart_from_captures(targets: &[Target], captures: &[PathBuf]) -> Result<(), String> {
    let file_of = |path: &Path| identity(path).filter(|_| path.is_file());
    let of_capture = |path: &PathBuf| match path.as_os_str() == "-" {
        true => file_of(Path::new("/proc/self/fd/0")),
        false => file_of(path),
    };
    let captures: Vec<_> = captures.iter().filter_map(of_capture).collect();
    for target in targets {
        if file_of(target.path()).is_some_and(|file| captures.contains(&file)) {
            return Err(format!(
                "--output: {target} is a capture to be read, and a log would destroy it: name another file"
            ));
        }
    }
    Ok(())
}

mod help;
#[cfg(test)]
mod tests;
pub(crate) use help::help;
