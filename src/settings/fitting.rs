//! Flags that do not fit one another.

use crate::books::record_kind::EventKind;
use crate::capture::mode::FanoutMode;
use crate::capture::tunnels::Tunnels;
use crate::error::ConfigError;
use crate::log::anonymize::Anonymizer;
use crate::log::sinks::spec::OutputSpec;
use crate::words::shown;
use std::path::Path;

/// The kernel's own hashes do not bring the directions of what is inside a tunnel together.
pub(super) fn tunnels_need_class(tunnels: &Tunnels, fanout: FanoutMode) -> Result<(), ConfigError> {
    if !tunnels.any() || fanout == FanoutMode::Class {
        return Ok(());
    }
    Err(ConfigError(format!(
        "--decap: needs --fanout class, for with --fanout {} the directions of a connection in a tunnel may meet \
         different workers; leave --decap out, or use --fanout class",
        fanout.word()
    )))
}

/// The key of `--anonymize`; `acts`: something acts on real addresses.
pub(super) fn anonymizer(
    path: Option<&Path>,
    acts: bool,
) -> Result<Option<Anonymizer>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |why: &str| ConfigError(format!("--anonymize {why}"));
    if acts {
        let path = shown(path);
        let why =
            "--block and --output blocklist: act on real addresses and write them: leave one out";
        return Err(wrong(&format!("{path}: {why}")));
    }
    Anonymizer::read(path).map(Some).map_err(|why| wrong(&why))
}

/// Seconds of `--active-timeout` for formats that want it by default, as softflowd and most routers have it.
const ACTIVE_S: u32 = 60;

/// Which outputs get interim records, and how often flows make them; `None`: never.
pub(super) fn active_timeout(given: Option<u32>, outputs: &mut [OutputSpec]) -> Option<i64> {
    if let Some(seconds) = given {
        outputs.iter_mut().for_each(|one| one.parts = seconds > 0);
    }
    let wants = |one: &OutputSpec| one.parts && one.events.has(EventKind::Flow);
    let every_ns = i64::from(given.unwrap_or(ACTIVE_S)) * 1_000_000_000;
    outputs.iter().any(wants).then_some(every_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_value_collectors_alone_get_interim_records() {
        let specs = |values: &[&str]| -> Vec<OutputSpec> {
            let parse = |value: &&str| value.parse().expect("an output");
            values.iter().map(parse).collect()
        };
        let of = |given, values: &[&str]| {
            let mut outputs = specs(values);
            let every_ns = active_timeout(given, &mut outputs);
            let parts: Vec<bool> = outputs.iter().map(|one| one.parts).collect();
            (every_ns.map(|ns| ns / 1_000_000_000), parts)
        };
        let (eve, ipfix) = ("eve:-", "ipfix:udp://192.0.2.1:4739");
        assert_eq!(of(None, &[eve]), (None, vec![false]));
        assert_eq!(of(None, &[eve, ipfix]), (Some(60), vec![false, true]));
        assert_eq!(of(Some(0), &[eve, ipfix]), (None, vec![false, false]));
        assert_eq!(of(Some(5), &[eve, ipfix]), (Some(5), vec![true, true]));
        assert_eq!(of(Some(5), &["eve:-,events=alert"]).0, None);
    }
}
