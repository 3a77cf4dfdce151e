//! What `--block` and its flags ask for.

use super::dry_run::DryRun;
use super::firewall::Firewall;
use super::helper::{ELEMENTS_MAX, Helper, Start, give_up_net_admin, holds};
use super::nft::{self, Kernel, Limits};
use super::xdp;
use crate::inspect::Kind;
use crate::inspect::detection::{Detection, Phase, Verdict};
use crate::time::durations::length_ns;
use crate::words::either;
use std::path::Path;

/// The kernel's sets have room for all that `--block-max` may ask for, and for what an earlier run left there.
const LIMITS: Limits = Limits {
    elements_max: ELEMENTS_MAX,
    kernel: Kernel::Whole,
};

/// Longest wait for XDP programs: some drivers set their queues up anew for one.
const BUILD_MS: u32 = 30_000;

words! {
    /// `--block`.
    pub flag enum BlockMode {
        /// Nobody is blocked.
        Off = "off",
        /// The kernel's nftables drop packets of whom is blocked.
        Nft = "nft",
        /// An XDP program at the watched interfaces drops them.
        Xdp = "xdp",
        /// Everything but the kernel's part: what would be blocked is logged.
        DryRun = "dry-run",
    }
}

/// An item of `--block-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOn {
    /// Detections with this verdict at least.
    Verdict(Verdict),
    /// Detections of this kind, whatever their verdict.
    Kind(Kind),
}

/// Kinds whose detections have one source.
const KINDS: [Kind; 5] = [
    Kind::PortScan,
    Kind::HostSweep,
    Kind::StealthScan,
    Kind::UdpScan,
    Kind::SlowScan,
];

/// Parses an item of `--block-on`.
///
/// # Errors
///
/// Names what is allowed.
pub fn parse_on(word: &str) -> Result<BlockOn, String> {
    let verdict = match word {
        "scan" => Some(Verdict::Scan),
        "suspicious" => Some(Verdict::Suspicious),
        "policy" => Some(Verdict::Unproven),
        _ => None,
    };
    let kind = || word.parse().ok().filter(|kind| KINDS.contains(kind));
    let found = verdict.map(BlockOn::Verdict);
    found.or_else(|| kind().map(BlockOn::Kind)).ok_or_else(|| {
        let kinds = KINDS.map(Kind::word);
        let words: Vec<_> = ["scan", "suspicious", "policy"]
            .into_iter()
            .chain(kinds)
            .collect();
        let floods = "floods and distributed scans have no one source";
        format!("must be {} ({floods})", either(&words))
    })
}

/// A time of `--block-times`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTime(pub u32);

const TIME_LEAST_S: i64 = 1;
/// A year.
const TIME_MOST_S: i64 = 365 * 86_400;
/// Most times of `--block-times`.
pub const TIMES_MAX: usize = 16;

/// Parses a time of `--block-times`, or that of a block by hand.
///
/// # Errors
///
/// Names range and units.
pub fn parse_time(value: &str) -> Result<BlockTime, String> {
    let seconds = length_ns(value).filter(|ns| ns % 1_000_000_000 == 0);
    let seconds = seconds.map(|ns| ns / 1_000_000_000);
    let in_range = seconds.filter(|seconds| (TIME_LEAST_S..=TIME_MOST_S).contains(seconds));
    let seconds = in_range.and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(BlockTime).ok_or_else(|| {
        "must be a time of whole seconds from 1s to 365d, such as 10m, 1h, 7d".to_owned()
    })
}

/// Checked flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    pub mode: BlockMode,
    pub on: Vec<BlockOn>,
    /// Seconds of the n-th block of a source; the last one stays.
    pub times_s: Vec<u32>,
    /// Most blocks at once.
    pub max: usize,
    /// Most blocks by detections within a minute.
    pub rate: u32,
    /// Sources whose address nothing proves, too.
    pub unproven: bool,
    /// Private networks, too.
    pub private: bool,
    /// IPv6 sources are blocked with their networks of this length, 64 to 128.
    pub prefix6: u8,
    /// Blocks outlast the run.
    pub keep: bool,
}

impl BlockPlan {
    /// Opens the firewall; `None`: off. Call it before other threads start: with nftables and XDP the process gives up
    /// CAP_NET_ADMIN here, once a helper has it. `interfaces`: where an XDP program is to be. The error is one sentence.
    pub fn open(&self, interfaces: &[String]) -> Result<Option<Box<dyn Firewall>>, String> {
        self.would_open()?;
        let mut helper = match self.mode {
            BlockMode::Off => return Ok(None),
            BlockMode::DryRun => return Ok(Some(Box::new(DryRun::default()))),
            BlockMode::Nft => start(LIMITS.into())?,
            BlockMode::Xdp => start(xdp::start(ELEMENTS_MAX, interfaces))?,
        };
        give_up_net_admin()
            .map_err(|error| format!("CAP_NET_ADMIN cannot be given up: {error}"))?;
        helper.start_no_other();
        helper.wait_until_built(BUILD_MS)?;
        Ok(Some(Box::new(helper)))
    }

    /// Whether it could be opened; changes nothing. The error is one sentence.
    pub fn would_open(&self) -> Result<(), String> {
        match self.mode {
            BlockMode::Nft if !holds(nft::METHOD.capabilities) => Err(
                "changing the firewall needs root or the capability CAP_NET_ADMIN (setcap cap_net_admin,cap_net_raw+ep)"
                    .to_owned(),
            ),
            BlockMode::Nft => nft::probe().map_err(|error| {
                format!(
                    "the kernel's nftables do not answer ({error}): load the module nf_tables, or take --block dry-run"
                )
            }),
            BlockMode::Xdp if !holds(xdp::METHOD.capabilities) => Err(
                "an XDP program needs root or the capabilities CAP_NET_ADMIN and CAP_BPF \
                 (setcap cap_bpf,cap_net_admin,cap_net_raw+ep)"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// This plan in a run that began with `running`: without what needs a start. There is memory for the blocks of the
    /// start alone.
    #[must_use]
    pub fn in_the_place_of(&self, running: &Self, max: usize) -> Self {
        Self {
            mode: running.mode,
            max: if self.max <= max {
                self.max
            } else {
                running.max
            },
            ..self.clone()
        }
    }

    /// Whether a detection is one that `--block-on` names. The summary of a scan that has ended never is.
    pub fn asks_for(&self, detection: &Detection) -> bool {
        let is_named = |on: &BlockOn| match *on {
            BlockOn::Verdict(least) => detection.verdict >= Some(least),
            BlockOn::Kind(kind) => detection.kind == kind,
        };
        detection.phase != Phase::Ended && self.on.iter().any(is_named)
    }

    /// Seconds of the n-th block of a source, from 1.
    pub fn time_s(&self, nth: u32) -> u32 {
        let last = self.times_s.len() - 1;
        let at = usize::try_from(nth.saturating_sub(1)).unwrap_or(last);
        self.times_s[at.min(last)]
    }

    /// A source is forgotten after so long without a block.
    pub fn memory_s(&self) -> u32 {
        self.times_s.iter().copied().max().unwrap_or(0)
    }
}

/// Starts a helper from this program. The error is one sentence.
fn start(start: Start) -> Result<Helper, String> {
    let started = Helper::start(Path::new("/proc/self/exe"), start);
    started.map_err(|error| format!("the helper does not start: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::formats::samples;

    pub fn plan(on: &[BlockOn]) -> BlockPlan {
        BlockPlan {
            mode: BlockMode::DryRun,
            on: on.to_vec(),
            times_s: vec![600, 3600, 86_400],
            max: 10,
            rate: 60,
            unproven: false,
            private: false,
            prefix6: 128,
            keep: false,
        }
    }

    #[test]
    fn a_detection_is_asked_for_by_verdict_or_kind_and_never_by_its_summary() {
        let scan = |phase, verdict| Detection {
            verdict: Some(verdict),
            ..samples::scan(phase, vec![(1, 4)], 4)
        };
        let verdict = |least| plan(&[BlockOn::Verdict(least)]);
        for verdict_of in Verdict::ALL {
            for least in Verdict::ALL {
                let is_asked = verdict(least).asks_for(&scan(Phase::Started, verdict_of));
                assert_eq!(is_asked, verdict_of >= least, "{verdict_of} {least}");
            }
        }
        let any = verdict(Verdict::Unproven);
        assert!(any.asks_for(&scan(Phase::Continues, Verdict::Unproven)));
        assert!(!any.asks_for(&scan(Phase::Ended, Verdict::Scan)));
        let sweeps = plan(&[
            BlockOn::Verdict(Verdict::Scan),
            BlockOn::Kind(Kind::PortScan),
        ]);
        assert!(sweeps.asks_for(&scan(Phase::Started, Verdict::Unproven)));
        let sweeps = plan(&[BlockOn::Kind(Kind::HostSweep)]);
        assert!(!sweeps.asks_for(&scan(Phase::Started, Verdict::Scan)));
        let flood = Detection {
            verdict: None,
            ..scan(Phase::Started, Verdict::Scan)
        };
        assert!(!any.asks_for(&flood));
    }

    #[test]
    fn the_nth_block_takes_the_nth_time_and_the_last_one_stays() {
        let plan = plan(&[]);
        let times = [0, 1, 2, 3, 4, u32::MAX].map(|nth| plan.time_s(nth));
        assert_eq!(times, [600, 600, 3600, 86_400, 86_400, 86_400]);
        assert_eq!(plan.memory_s(), 86_400);
    }

    #[test]
    fn words_of_block_on_are_those_of_alert_and_kinds_with_a_source() {
        assert_eq!(parse_on("scan"), Ok(BlockOn::Verdict(Verdict::Scan)));
        assert_eq!(parse_on("policy"), Ok(BlockOn::Verdict(Verdict::Unproven)));
        assert_eq!(parse_on("slow_scan"), Ok(BlockOn::Kind(Kind::SlowScan)));
        for word in ["syn_flood", "distributed_scan", "unproven", "", "Scan"] {
            let error = parse_on(word).expect_err(word);
            assert!(
                error.contains("must be scan, suspicious, policy, port_scan"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_time_is_whole_seconds_up_to_a_year() {
        for (value, seconds) in [("1s", 1), ("10m", 600), ("365d", 31_536_000), ("1000ms", 1)] {
            assert_eq!(parse_time(value), Ok(BlockTime(seconds)), "{value}");
        }
        for value in [
            "",
            "10",
            "0s",
            "1500ms",
            "366d",
            "-1s",
            "9223372036854775807d",
        ] {
            let error = parse_time(value).expect_err(value);
            assert!(error.contains("from 1s to 365d"), "{error}");
        }
    }
}
