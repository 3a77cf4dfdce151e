//! Records of blocks: carried out, refused, ended.

use crate::inspect::detection::{Evidence, Kind, Proof, Verdict};
use crate::words::many;
use ipnet::IpNet;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::Arc;

/// The evidence of a detection, as far as a block needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The address that was detected, where its network is blocked (`--block-prefix6`).
    pub src: Option<IpAddr>,
    /// The rule.
    pub kind: Kind,
    /// What it says of the source; floods have none.
    pub verdict: Option<Verdict>,
    /// What proves the source's address.
    pub proof: Proof,
    /// Destination of the deciding packet.
    pub dst: IpAddr,
    /// Number of ports, hosts or places.
    pub count: u64,
    /// What became of them.
    pub evidence: Evidence,
}

/// Why somebody is blocked, or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A detection.
    Detection(Cause),
    /// By hand, with a person's words.
    Hand(Arc<str>),
    /// A list with this name.
    Import(Arc<str>),
    /// An earlier run left it, or somebody else put it into the kernel.
    Found,
}

impl Why {
    /// A stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Detection(_) => "detection",
            Self::Hand(_) => "hand",
            Self::Import(_) => "import",
            Self::Found => "found",
        }
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detection(cause) => cause.fmt(f),
            Self::Hand(words) if words.is_empty() => f.write_str("by hand"),
            Self::Hand(words) => write!(f, "by hand: {words}"),
            Self::Import(name) => write!(f, "import: {name}"),
            Self::Found => f.write_str("found in the kernel"),
        }
    }
}

impl Display for Cause {
    /// `port_scan by 2001:db8::9 of 198.51.100.7 (12 touched: 9 refused, 2 unanswered, 1 answered; verdict: scan; proof: handshake)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, dst, proof) = (self.kind, self.dst, self.proof);
        let Evidence {
            refused,
            unanswered,
            answered,
            ..
        } = self.evidence;
        f.write_str(kind.word())?;
        if let Some(src) = self.src {
            write!(f, " by {src}")?;
        }
        write!(
            f,
            " of {dst} ({} touched: {refused} refused, {unanswered} unanswered, {answered} answered",
            self.count
        )?;
        if let Some(verdict) = self.verdict {
            write!(f, "; verdict: {verdict}")?;
        }
        write!(f, "; proof: {proof})")
    }
}

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel has it.
    Blocked {
        /// Its whole time, seconds.
        for_s: u32,
        /// The wall clock when it will end, nanoseconds since the Unix epoch.
        until_ns: i64,
        /// The how manyeth block of this source; 0: not by a detection.
        nth: u32,
        /// From the deciding moment to the kernel's answer; `None`: not by a detection.
        delay_us: Option<u64>,
        /// Its time began anew.
        renewed: bool,
    },
    /// It was not carried out.
    Refused {
        /// A word of [`crate::books::blocks::BlockRefusal`].
        reason: &'static str,
        /// The kernel's error number.
        errno: Option<i32>,
    },
    /// It is over.
    Ended {
        /// `expired`, or a word of [`crate::books::blocks::Removal`].
        cause: &'static str,
        /// Since when it was there, by the wall clock.
        since_ns: i64,
        /// Packets and bytes dropped, where the kernel counts them.
        dropped: Option<(u64, u64)>,
    },
}

/// A record of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// Nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Who: an address is the network of its whole length.
    pub net: IpNet,
    /// Why.
    pub why: Why,
    /// What became of it.
    pub outcome: Outcome,
    /// `--block`'s word.
    pub mode: &'static str,
    /// Nothing was asked of a kernel.
    pub dry_run: bool,
}

/// A network as a person writes it: an address without its length.
pub fn shown(net: IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

impl BlockRecord {
    /// One sentence for a line of text.
    pub fn sentence(&self) -> String {
        let (net, why) = (shown(self.net), &self.why);
        let dry = if self.dry_run { " (dry run)" } else { "" };
        match &self.outcome {
            Outcome::Blocked {
                for_s,
                nth,
                renewed,
                ..
            } => {
                let (time, word) = (length(*for_s), if *renewed { "anew " } else { "" });
                let nth = match nth {
                    0 | 1 => String::new(),
                    nth => format!(" (time {nth})"),
                };
                format!("Blocked{dry}: {net} {word}for {time}{nth}: {why}")
            }
            Outcome::Refused { reason, errno } => {
                let errno = errno.map_or(String::new(), |errno| format!(" (error {errno})"));
                format!("Block refused{dry}: {net}: {reason}{errno}; {why}")
            }
            Outcome::Ended { cause, dropped, .. } => {
                let dropped = dropped.map_or(String::new(), |(packets, bytes)| {
                    let (packets, bytes) = (many(packets, "packet"), many(bytes, "byte"));
                    format!(", {packets} ({bytes}) dropped")
                });
                format!("Block ended{dry}: {net}: {cause}{dropped}; its reason: {why}")
            }
        }
    }
}

/// Seconds in the largest unit that has no rest.
pub fn length(seconds: u32) -> String {
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::formats::samples::block;

    #[test]
    fn a_time_has_the_largest_unit_without_a_rest() {
        let of = [600, 3600, 86_400, 604_800, 90, 61, 0].map(length);
        assert_eq!(of, ["10m", "1h", "1d", "7d", "90s", "61s", "0s"]);
    }

    #[test]
    fn sentences_say_who_how_long_and_why() {
        let [blocked, refused, ended] = block();
        let why = "port_scan of 198.51.100.7 (12 touched: 9 refused, 2 unanswered, 1 answered; verdict: scan; proof: handshake)";
        assert_eq!(
            blocked.sentence(),
            format!("Blocked: 192.0.2.9 for 1h (time 2): {why}")
        );
        assert_eq!(
            refused.sentence(),
            format!(
                "Block refused (dry run): 2001:db8::/64: gateway; {}",
                why.replace(" of ", " by 2001:db8::9 of ")
            )
        );
        assert_eq!(
            ended.sentence(),
            "Block ended: 192.0.2.9: expired, 3 packets (180 bytes) dropped; its reason: by hand: noisy"
        );
        let anew = BlockRecord {
            outcome: Outcome::Blocked {
                for_s: 61,
                until_ns: 0,
                nth: 0,
                delay_us: None,
                renewed: true,
            },
            ..ended
        };
        assert_eq!(
            anew.sentence(),
            "Blocked: 192.0.2.9 anew for 61s: by hand: noisy"
        );
    }
}
