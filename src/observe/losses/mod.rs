//! Losses in words: how much of what, why, and what to change.
//!
//! Groups the causes of [`Books::losses`] by their remedy.

mod watch;

use crate::books::Books;
use crate::books::output::{Cause, OutputBooks};
use crate::inspect::Kind;
use crate::log::sinks::lines::BUFFER_MAX;
pub(crate) use watch::{LossEvent, LossWatch};

words! {
    /// Why something was lost, in the order of a packet's path.
    #[allow(missing_docs, reason = "the words say it")]
    pub enum Reason {
        /// An interface is down or gone.
        Link = "link",
        Nic = "nic_drops",
        /// The kernel's backlog had no room.
        Backlog = "backlog_drops",
        Rings = "ring_drops",
        Shed = "shed",
        /// Frames were cut before their transport header.
        Depth = "cut_by_depth",
        /// Frames of a capture are of a link type that is not read.
        LinkType = "link_type",
        FlowTables = "flow_tables_full",
        ScanTables = "scan_tables_full",
        Contacts = "contacts_dropped",
        /// The witness disagrees.
        Witness = "witness",
        /// The logger had ended.
        LogGone = "log_gone",
        ListFull = "list_full",
        ListWrite = "list_write",
        /// The helper that changes the firewall is gone.
        Blocking = "blocking",
        /// An output did not take its records.
        Output = "output",
    }
}

impl Reason {
    /// Its causes in [`Books::losses`]; none for what is known only in seconds.
    fn causes(self) -> &'static [&'static str] {
        match self {
            Self::Link | Self::Blocking => &[],
            Self::Nic => &["nic_drops"],
            Self::Backlog => &["softnet_drops"],
            Self::Rings => &["ring_tp_drops"],
            Self::Shed => &["ring_shed_data", "shed_in_kernel"],
            Self::Depth => &["frames_cut_by_depth"],
            Self::LinkType => &["frames_of_unread_links"],
            Self::FlowTables => &[
                "evicted_attempts",
                "evicted_established",
                "evicted_others",
                "evicted_fragments",
                "flows_without_volumes",
            ],
            Self::ScanTables => &["subjects_evicted", "episodes_evicted", "sources_evicted"],
            Self::Contacts => &["contacts_dropped"],
            Self::Witness => &["witness_missing", "witness_extra"],
            Self::LogGone => &[
                "connections_log_gone",
                "flows_log_gone",
                "detections_log_gone",
            ],
            Self::ListFull => &["responder_displaced"],
            Self::ListWrite => &["responder_write_failures"],
            Self::Output => &["records_dropped"],
        }
    }

    /// Whether the cause is one of its own. Names of detectors' counters begin with the word of their kind.
    fn covers(self, cause: &str) -> bool {
        let kinds = Kind::ALL.into_iter();
        let of_a_kind = kinds.filter_map(|kind| cause.strip_prefix(kind.word())?.strip_prefix('_'));
        let names = of_a_kind.chain([cause]);
        names.into_iter().any(|name| self.causes().contains(&name))
    }

    /// What was lost, in singular and plural.
    fn noun(self) -> (&'static str, &'static str) {
        match self {
            Self::Link
            | Self::Nic
            | Self::Backlog
            | Self::Rings
            | Self::Shed
            | Self::Depth
            | Self::LinkType => ("frame", "frames"),
            Self::FlowTables => ("entry of a flow", "entries of flows"),
            Self::ScanTables => ("entry of a scan", "entries of scans"),
            Self::Contacts => (
                "contact of the scan detectors",
                "contacts of the scan detectors",
            ),
            Self::Witness => (
                "attempt of the witness's sample",
                "attempts of the witness's sample",
            ),
            Self::ListFull | Self::Blocking => ("source", "sources"),
            Self::ListWrite => ("write of a responder", "writes of responders"),
            Self::LogGone | Self::Output => ("record", "records"),
        }
    }

    /// How the sentence about a loss goes on after "were".
    fn predicate(self) -> &'static str {
        match self {
            Self::Link => "not seen",
            Self::Nic => "lost by network cards",
            Self::Backlog => "lost in the kernel's backlog",
            Self::Rings => "dropped by full rings",
            Self::Shed => "shed under load",
            Self::Depth => "cut before their transport header",
            Self::LinkType => "of a link type that is not read",
            Self::FlowTables => "evicted from full tables, or lack packets and bytes",
            Self::ScanTables => "evicted from full tables: a scan among them may be missed",
            Self::Contacts => "dropped by full queues: a scan among them may be missed",
            Self::Witness => "on one side only",
            Self::LogGone => "made when the log had ended",
            Self::ListFull => "removed from full lists of responders by newer ones",
            Self::ListWrite => "refused: the old list stayed there",
            Self::Blocking => "not blocked",
            Self::Output => "lost",
        }
    }

    /// What the operator can change.
    fn advice(self) -> &'static str {
        match self {
            Self::Link => "look why the interface went",
            Self::Nic => "synledger check says what to change",
            Self::Backlog => "raise net.core.netdev_max_backlog (synledger check has the command)",
            Self::Rings | Self::Shed => {
                "raise --ring-mib or --workers, or capture less: --capture control"
            }
            Self::Depth => "--capture full keeps them whole",
            Self::LinkType => "capture as Ethernet, as raw IP or cooked (tcpdump -y)",
            Self::FlowTables | Self::ScanTables => "raise --memory-mib",
            Self::Contacts => "raise --memory-mib, or lower --workers if there are several",
            Self::Witness | Self::LogGone => "please report it as a fault of synledger",
            Self::ListFull => "raise max= of the responder",
            Self::ListWrite => "look at its directory and its disk, or write elsewhere",
            Self::Blocking => "start synledger again",
            Self::Output => "",
        }
    }
}

/// The cause in words, and what the operator can change.
fn output_trouble(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::DiskFull => ("its disk is full", "free space there, or write elsewhere"),
        Cause::Io => (
            "it cannot be written",
            "look at its path and its disk, or write elsewhere",
        ),
        Cause::Closed => (
            "it has no reader any more",
            "keep a reader, or write a file",
        ),
        Cause::QueueFull => (
            "more came than can be written",
            "ask for less (events=), or fold earlier (--fold)",
        ),
        Cause::Slow => ("its reader is slow", "read it faster, or write a file"),
        Cause::Unreachable => (
            "its collector is down",
            "start the collector, or look at the route to it and at firewalls",
        ),
    }
}

/// A loss for one reason, since the start or in a part of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub reason: Reason,
    /// The output that lost records.
    pub output: Option<String>,
    /// Count of [`Reason::noun`].
    pub lost: u64,
    /// How many there were, lost ones included; 0: unknown.
    pub of: u64,
    /// Upper bound of the new connections among them.
    attempts_bound: u64,
    /// Time in which frames were lost uncounted.
    uncounted_us: u64,
    /// Records lost, by cause.
    causes: [u64; Cause::COUNT],
    /// Why the output takes nothing now.
    blocked: Option<Cause>,
}

impl Loss {
    fn new(reason: Reason, lost: u64, of: u64) -> Self {
        Self {
            reason,
            output: None,
            lost,
            of,
            attempts_bound: 0,
            uncounted_us: 0,
            causes: [0; Cause::COUNT],
            blocked: None,
        }
    }

    fn of_output(output: &OutputBooks) -> Self {
        let counts = &output.counts;
        let offered: u64 = counts.offered.iter().sum();
        let not_asked: u64 = counts.not_asked.iter().sum();
        Self {
            output: Some(output.name.clone()),
            causes: counts.dropped.map(|kinds| kinds.iter().sum()),
            // A reader that is slow for a moment loses nothing: a buffer waits for it.
            blocked: counts.blocked.filter(|cause| *cause != Cause::Slow),
            ..Self::new(Reason::Output, output.dropped(), offered - not_asked)
        }
    }

    pub fn is_some(&self) -> bool {
        self.lost > 0 || self.uncounted_us > 0
    }

    fn since(&self, before: &Self) -> Self {
        let minus = u64::saturating_sub;
        Self {
            lost: minus(self.lost, before.lost),
            of: minus(self.of, before.of),
            attempts_bound: minus(self.attempts_bound, before.attempts_bound),
            uncounted_us: minus(self.uncounted_us, before.uncounted_us),
            causes: std::array::from_fn(|at| minus(self.causes[at], before.causes[at])),
            ..self.clone()
        }
    }

    fn is_of(&self, other: &Self) -> bool {
        self.reason == other.reason && self.output == other.output
    }

    /// Why the output lost most of its records, or is blocked.
    fn cause(&self) -> Option<Cause> {
        let most = Cause::ALL
            .into_iter()
            .max_by_key(|&cause| self.causes[cause as usize]);
        self.blocked.or(most.filter(|_| self.lost > 0))
    }

    /// For a person: `12 of 400 records of eve:log (3 %) were lost: its disk is full`.
    pub fn sentence(&self) -> String {
        let seconds = self.uncounted_us as f64 / 1e6;
        match self.reason {
            Reason::Link => {
                return format!(
                    "frames that came while interfaces were gone or not yet watched again, for {seconds:.3} s"
                );
            }
            Reason::Shed if self.lost == 0 && self.uncounted_us > 0 => {
                return format!(
                    "frames were shed in the kernel for {seconds:.1} s, not counted (that takes CAP_BPF)"
                );
            }
            _ => {}
        }
        let of = match self.of {
            0 => String::new(),
            of => format!(" of {of}"),
        };
        let (one, many) = self.reason.noun();
        let things = if self.lost == 1 && self.of == 0 {
            one
        } else {
            many
        };
        let mut text = format!("{}{of} {things}", self.lost);
        if let Some(output) = &self.output {
            text += &format!(" of {output}");
        }
        if self.of > 0 {
            text += &format!(" ({})", percent(self.lost, self.of));
        }
        let were = if self.lost == 1 { "was" } else { "were" };
        text += &format!(" {were} {}", self.reason.predicate());
        if self.attempts_bound > 0 {
            text += &format!(
                ", at most {} new connections among them",
                self.attempts_bound
            );
        }
        if let (Reason::Output, Some(cause)) = (self.reason, self.cause()) {
            text += &format!(": {}", output_trouble(cause).0);
        }
        text
    }

    /// For a person: the output is blocked. `None`: it is not.
    fn blocked_sentence(&self) -> Option<String> {
        let (name, cause) = (self.output.as_ref()?, self.blocked?);
        let (trouble, _) = output_trouble(cause);
        let mib = BUFFER_MAX >> 20;
        Some(format!(
            "{name} takes no lines: {trouble}; {mib} MiB of them waits, further ones are lost"
        ))
    }

    /// What the operator can change.
    pub fn advice(&self) -> &'static str {
        match self.cause() {
            Some(cause) if self.reason == Reason::Output => output_trouble(cause).1,
            _ => self.reason.advice(),
        }
    }
}

/// A share in per cent, rounded.
pub(crate) fn percent(part: u64, of: u64) -> String {
    let percent = part as f64 * 100.0 / of.max(1) as f64;
    match percent {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.01 => "below 0.01 %".to_owned(),
        // Rounded to 100 %, it would mean that nothing came through.
        percent if percent > 99.9 && part < of => "over 99.9 %".to_owned(),
        percent => {
            let decimals = if percent < 10.0 { 2 } else { 1 };
            let text = format!("{percent:.decimals$}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// Losses before the outputs: one entry for each reason, also without a loss.
pub(crate) fn before_outputs(books: &Books) -> Vec<Loss> {
    let counted = books.losses();
    let lost = |reason: Reason| {
        let of_it = counted.iter().filter(|(cause, _)| reason.covers(cause));
        of_it.map(|(_, count)| count).sum()
    };
    let before = Reason::ALL
        .into_iter()
        .filter(|&reason| reason != Reason::Output);
    let loss = |reason| Loss {
        attempts_bound: match reason {
            Reason::Rings => {
                books.missed_bound().attempts
                    - books.shards.frames_cut_by_depth
                    - books.unread_links()
            }
            _ => 0,
        },
        uncounted_us: uncounted_us(books, reason),
        ..Loss::new(reason, lost(reason), whole(books, reason))
    };
    before.map(loss).collect()
}

/// How many things there were, lost ones included; 0: unknown.
fn whole(books: &Books, reason: Reason) -> u64 {
    let shards = &books.shards;
    let packets = books.rings.iter().map(|ring| ring.tp_packets);
    let reached = packets.sum::<u64>() + books.shed_in_kernel.unwrap_or(0);
    match reason {
        Reason::Nic | Reason::Backlog => reached + books.host.nic_drops + books.host.softnet_drops,
        Reason::Rings | Reason::Shed => reached,
        Reason::Depth | Reason::LinkType => shards.frames,
        Reason::Contacts => shards.contacts_sent.iter().sum(),
        Reason::Witness => books.witness.unwrap_or_default().seen,
        // Entries of a flow are not counted: an attempt's, an established one's, and either stays for a while
        // after the end.
        Reason::FlowTables | Reason::ScanTables => 0,
        Reason::Link | Reason::Blocking | Reason::LogGone | Reason::Output => 0,
        Reason::ListFull | Reason::ListWrite => 0,
    }
}

fn uncounted_us(books: &Books, reason: Reason) -> u64 {
    match reason {
        Reason::Link => books.host.unwatched_us,
        Reason::Shed if books.shed_in_kernel.is_none() => {
            books.shards.shed.spent_us[1..].iter().sum()
        }
        _ => 0,
    }
}

/// One entry for each output, also without a loss. `outputs` must have counted all that they were offered.
pub(crate) fn of_outputs(outputs: &[OutputBooks]) -> Vec<Loss> {
    outputs.iter().map(Loss::of_output).collect()
}

/// All losses, in the order of a packet's path.
pub(crate) fn all(books: &Books) -> Vec<Loss> {
    let mut all = before_outputs(books);
    all.extend(of_outputs(&books.outputs));
    all.retain(Loss::is_some);
    all
}

#[cfg(test)]
mod tests;
