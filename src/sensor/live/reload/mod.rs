//! SIGHUP: the configuration file is read again, and what can change during a run changes without losing a frame.

mod outputs;

use super::messenger::Messenger;
use super::workers::Workers;
use crate::host::nic;
use crate::inspect::Rules;
use crate::respond::block::plan::BlockPlan;
use crate::respond::guard::{self, Shared};
use crate::sensor;
use crate::sensor::worker::Change;
use crate::settings::RunConfig;
use crate::settings::arguments::{self, Refused};
use crate::settings::file::DEFAULT_PATH;
use crate::settings::flags::Command;
use crate::settings::given::{self, Given, Value};
use crate::words::shown;
use ipnet::IpNet;
pub(super) use outputs::OutputsInForce;
use outputs::Planned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Flags of the policy that a reload puts in force.
const POLICY: [&str; 5] = ["alert", "allow", "dark", "direction", "scan-scope"];
/// Flags of `--block` that a reload puts in force while it blocks.
const BLOCK: [&str; 8] = [
    "block-keep",
    "block-max",
    "block-on",
    "block-prefix6",
    "block-private",
    "block-rate",
    "block-times",
    "block-unproven",
];
/// The flag of outputs.
const OUTPUT: &str = "output";

/// The settings in force, by flag.
type Settings = BTreeMap<String, Value>;

/// Settings that the logger's thread reads.
pub(super) struct SharedSettings {
    /// `--allow` for responders.
    pub allow: Shared<Vec<IpNet>>,
    /// The plan of `--block`; `None`: off.
    pub block: Option<Shared<BlockPlan>>,
}

pub(super) struct Reload<'a> {
    config: &'a RunConfig,
    /// The command line, with the program's name.
    words: Vec<OsString>,
    default_path: PathBuf,
    in_force: Settings,
    /// A configuration file was read at the start.
    had_file: bool,
    shared: SharedSettings,
    /// `--scan-scope all`.
    pub all_scans: bool,
    flow_records: bool,
    /// Thresholds in force; their room is that of the start.
    pub rules: Rules,
    outputs: OutputsInForce,
    messenger: Messenger,
}

impl<'a> Reload<'a> {
    pub(super) fn new(
        config: &'a RunConfig,
        shared: SharedSettings,
        outputs: OutputsInForce,
        messenger: Messenger,
    ) -> Self {
        Self {
            config,
            words: std::env::args_os().collect(),
            default_path: PathBuf::from(DEFAULT_PATH),
            in_force: settings(&config.given),
            had_file: config.given.file.is_some(),
            shared,
            all_scans: config.all_scans,
            flow_records: config.common.flow_records,
            rules: config.common.rules,
            outputs,
            messenger,
        }
    }

    /// SHA-256 of the settings in force: it changes with what a reload puts in force.
    pub(super) fn config_sha256(&self) -> String {
        given::sha256(&self.in_force)
    }

    /// Reads the file again and reports what has changed. A file that is wrong changes nothing, nor does an output that
    /// cannot be opened.
    pub(super) fn reload(&mut self, workers: &Workers<'_>) {
        let config = match read(&self.words, &self.default_path, false) {
            Ok(config) if self.had_file && config.given.file.is_none() => {
                let path = shown(&self.default_path);
                return self.fail(&format!("{path} is gone"));
            }
            Ok(config) => config,
            Err(why) => return self.fail(&why),
        };
        let now = settings(&config.given);
        let changed = changed(&self.in_force, &now);
        let planned = match self.outputs.plan(&config.common) {
            Ok(planned) => planned,
            Err(why) => return self.fail(&config.given.explain(&why)),
        };
        let parts = Parts::of(changed, &planned, |key| self.takes(key, &config));
        if let Err(why) = self.outputs.put_in_force(planned) {
            return self.fail(&why);
        }
        self.apply(&config, &parts, workers);
        self.report(&config, &parts, &now);
    }

    fn apply(&mut self, config: &RunConfig, parts: &Parts, workers: &Workers<'_>) {
        let common = &config.common;
        if self.flow_records != common.flow_records && parts.applied.contains(OUTPUT) {
            self.flow_records = common.flow_records;
            workers.send(&Change::FlowRecords(self.flow_records));
        }
        if POLICY.iter().any(|key| parts.applied.contains(*key)) {
            self.all_scans = config.all_scans;
            let nets = common.allow.iter().map(|allowed| allowed.net).collect();
            replace(&self.shared.allow, nets);
            let host = self.config.host_target;
            let policy = sensor::policy(common, Arc::default(), self.all_scans, host);
            workers.send(&Change::Policy(policy));
        }
        let rules = &self.config.common.rules;
        if (parts.applied.iter()).any(|key| rules.takes(key, &common.rules).is_some()) {
            self.rules = common.rules;
            workers.send(&Change::Rules(Box::new(common.rules)));
        }
        if BLOCK.iter().any(|key| parts.applied.contains(*key))
            && let (Some(shared), Some(new)) = (&self.shared.block, &config.block)
            && let Some(start) = &self.config.block
        {
            let running = guard::newest(shared);
            replace(shared, new.in_the_place_of(&running, start.max));
        }
    }

    /// Whether a reload puts this flag in force.
    fn takes(&self, key: &str, config: &RunConfig) -> bool {
        if BLOCK.contains(&key) {
            let (start, new) = (self.config.block.as_ref(), config.block.as_ref());
            return start.zip(new).is_some_and(|(start, new)| {
                new.mode == start.mode && (key != "block-max" || new.max <= start.max)
            });
        }
        let rules = self.config.common.rules.takes(key, &config.common.rules);
        rules.unwrap_or_else(|| POLICY.contains(&key))
    }

    /// Remembers and reports what is in force.
    fn report(&mut self, config: &RunConfig, parts: &Parts, now: &Settings) {
        for key in &parts.applied {
            match now.get(key) {
                Some(value) => drop(self.in_force.insert(key.clone(), value.clone())),
                None => drop(self.in_force.remove(key)),
            }
        }
        let mut text = sentence(config.given.file.as_deref(), parts);
        if let Some(why) = refused_interfaces(config, parts) {
            text += &format!("; a restart would fail: {why}");
        }
        let details = [
            ("applied", json!(parts.applied)),
            ("restart_needed", json!(parts.waiting)),
        ];
        self.messenger.line(&text);
        self.messenger.record_with("reload", text, details);
    }

    fn fail(&self, why: &str) {
        let text = format!("log files opened anew; no setting was changed: {why}");
        self.messenger.report("reload_failed", text);
    }
}

/// What of the changed flags a reload puts in force.
#[derive(Debug, Default)]
struct Parts {
    applied: BTreeSet<String>,
    /// What needs a restart.
    waiting: Vec<String>,
}

impl Parts {
    /// `takes`: whether a flag other than `--output` is put in force.
    fn of(changed: BTreeSet<String>, planned: &Planned, takes: impl Fn(&str) -> bool) -> Self {
        let mut parts = Self::default();
        for key in changed {
            let is_applied = match key.as_str() {
                OUTPUT => {
                    parts.waiting.extend(planned.waiting.iter().cloned());
                    // Another order of the same outputs is no change.
                    !planned.is_empty() || planned.waiting.is_empty()
                }
                key => takes(key),
            };
            match is_applied {
                true => drop(parts.applied.insert(key)),
                false if key == OUTPUT => {}
                false => parts.waiting.push(key),
            }
        }
        parts
    }
}

fn replace<T>(shared: &Shared<T>, new: T) {
    *shared.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
}

/// The settings of this command line and its file, checked as at a start. `key`: that of `--anonymize`, too.
pub(super) fn read(
    words: &[OsString],
    default_path: &Path,
    key: bool,
) -> Result<RunConfig, String> {
    let cli = arguments::parse(words.iter().cloned(), default_path);
    let cli = cli.map_err(|refused| match refused {
        Refused::File(error) => error.0,
        Refused::CommandLine(error) => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    })?;
    let Command::Run(mut args) = cli.command else {
        return Err("the command line is no run".to_owned());
    };
    let given = args.common.file.given.clone();
    // A reload keeps the key of the start: the sandbox does not open its file again.
    args.common.anonymize.take_if(|_| !key);
    RunConfig::new(args).map_err(|error| given.explain(&error.0))
}

fn settings(given: &Given) -> Settings {
    let all = given.settings.iter();
    all.map(|setting| (setting.key.clone(), setting.value.clone()))
        .collect()
}

/// Flags whose value differs.
fn changed(before: &Settings, now: &Settings) -> BTreeSet<String> {
    let keys = before.keys().chain(now.keys());
    keys.filter(|key| before.get(*key) != now.get(*key))
        .cloned()
        .collect()
}

/// Why a start with the new interfaces would fail, if they are new.
fn refused_interfaces(config: &RunConfig, parts: &Parts) -> Option<String> {
    if !parts.waiting.iter().any(|key| key == "interface") {
        return None;
    }
    let refused = nic::resolve(&config.interfaces.join(",")).err();
    let refused = refused.filter(|error| !error.may_pass(config.wait))?;
    Some(config.given.explain(&refused.to_string()))
}

fn sentence(file: Option<&Path>, parts: &Parts) -> String {
    let mut text = "log files opened anew".to_owned();
    let Some(file) = file else { return text };
    text += &format!("; {} was read", shown(file));
    let applied: Vec<&str> = parts.applied.iter().map(String::as_str).collect();
    text += &match applied.as_slice() {
        [] => ": nothing to change".to_owned(),
        keys => format!(": in force now: {}", keys.join(", ")),
    };
    if !parts.waiting.is_empty() {
        text += &format!("; only after a restart: {}", parts.waiting.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads this file for `run -i lo`.
    fn read_file(text: &str) -> Result<RunConfig, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.toml");
        std::fs::write(&path, text).expect("a file");
        let words = ["synledger", "run", "-i", "lo", "--config"].map(OsString::from);
        let words: Vec<OsString> = words.into_iter().chain([path.into()]).collect();
        read(&words, Path::new("/nowhere"), true)
    }

    #[test]
    fn a_changed_added_or_removed_flag_is_a_change_and_its_place_is_none() {
        let one = read_file("allow = \"192.0.2.1\"\nfold = 5\nalert = \"scan\"\n").expect("right");
        let two =
            read_file("\nfold = 5\nalert = \"policy\"\ndark = \"192.0.2.9\"\n").expect("right");
        let (one, two) = (settings(&one.given), settings(&two.given));
        let expected = ["alert", "allow", "dark"].map(str::to_owned);
        assert_eq!(changed(&one, &two), BTreeSet::from(expected));
        assert_eq!(changed(&one, &one), BTreeSet::new());
    }

    #[test]
    fn a_wrong_file_is_an_error_with_its_line() {
        for (text, words) in [
            ("fold = 5\nallow = \"x\"\n", "line 2: allow = \"x\""),
            ("fold = \n", "line 1"),
            ("folt = 5\n", "line 1: unknown key folt"),
            ("memory-mib = 16\nworkers = 64\n", "--memory-mib is from "),
            (
                "anonymize = \"/nowhere/key\"\n",
                "/nowhere/key: No such file",
            ),
        ] {
            let why = read_file(text).expect_err("wrong");
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn interfaces_with_which_a_restart_would_fail_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.toml");
        let refused = |toml: &str, waiting: &[&str]| {
            std::fs::write(&path, toml).expect("a file");
            let words = ["synledger", "run", "--config"].map(OsString::from);
            let words: Vec<OsString> = words.into_iter().chain([path.clone().into()]).collect();
            let config = read(&words, Path::new("/nowhere"), true).expect("right");
            let parts = Parts {
                waiting: waiting.iter().map(|key| (*key).to_owned()).collect(),
                ..Parts::default()
            };
            refused_interfaces(&config, &parts)
        };
        let absent = "interface = \"nosuch0\"\n";
        let why = refused(absent, &["interface"]).expect("there is none");
        assert!(why.starts_with("-i nosuch0: no such interface; "), "{why}");
        assert!(why.contains("--interface is from "), "{why}");
        assert_eq!(refused(absent, &["fold"]), None);
        let waits = format!("{absent}wait = true\n");
        assert_eq!(refused(&waits, &["interface"]), None);
        assert_eq!(refused("interface = \"lo\"\n", &["interface"]), None);
    }

    #[test]
    fn the_sentence_names_what_is_in_force_and_what_waits() {
        let file = Some(Path::new("/x.toml"));
        let anew = "log files opened anew";
        let mut parts = Parts::default();
        assert_eq!(sentence(None, &parts), anew);
        let nothing = format!("{anew}; /x.toml was read: nothing to change");
        assert_eq!(sentence(file, &parts), nothing);
        parts.applied.extend(["alert", "allow"].map(str::to_owned));
        parts.waiting.push("fold".to_owned());
        let both = format!(
            "{anew}; /x.toml was read: in force now: alert, allow; only after a restart: fold"
        );
        assert_eq!(sentence(file, &parts), both);
    }
}
