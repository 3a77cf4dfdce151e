//! The tables: which rows each is of, and what its columns show.

use std::fmt::Write as _;

use super::numbers::{digits, median, percent};
use super::record::Row;
use super::stats::{lower_bound, mean_ratio, spread};
use super::{Group, Sources, groups};
use crate::receivers::peers::{self, Peer};

/// A table with its origin.
#[derive(Clone, Debug)]
pub struct Table {
    /// As markers and links name it.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What its numbers are.
    pub note: &'static str,
    /// Heads of its columns.
    pub head: Vec<&'static str>,
    /// Its lines, a word for each column.
    pub lines: Vec<Vec<String>>,
    /// Where its numbers come from.
    pub sources: Sources,
}

type Show = fn(&Group<'_>) -> String;

struct Spec {
    name: &'static str,
    title: &'static str,
    note: &'static str,
    experiment: &'static str,
    /// Rows without one of these are of another table.
    metrics: &'static [&'static str],
    /// What a line is of.
    key: fn(&Row) -> [&str; 3],
    columns: &'static [(&'static str, Show)],
}

fn by_subject(row: &Row) -> [&str; 3] {
    [&row.load, &row.subject, &row.depth]
}

fn by_depth(row: &Row) -> [&str; 3] {
    [&row.load, "", &row.depth]
}

fn load(group: &Group<'_>) -> String {
    group.first().load.clone()
}

fn depth(group: &Group<'_>) -> String {
    group.first().depth.clone()
}

fn who(group: &Group<'_>) -> String {
    let row = group.first();
    format!("{} {}", row.subject, row.depth)
        .trim_end()
        .to_owned()
}

fn millions(group: &Group<'_>, metric: &str) -> String {
    median(&group.values(metric), 1e6)
}

fn mib(group: &Group<'_>, metric: &str) -> String {
    let bytes = spread(&group.values(metric)).map(|spread| spread.most);
    bytes.map_or(String::new(), |bytes| format!("{:.0}", bytes / 1_048_576.0))
}

fn sum(group: &Group<'_>, metric: &str) -> f64 {
    group.values(metric).iter().sum()
}

fn total(group: &Group<'_>, metric: &str) -> String {
    match group.values(metric).is_empty() {
        true => String::new(),
        false => format!("{:.0}", sum(group, metric)),
    }
}

fn times(group: &Group<'_>, metric: &str) -> String {
    format!("{}", group.values(metric).len())
}

fn ms(group: &Group<'_>, metric: &str) -> String {
    median(&group.values(metric), 1000.0)
}

const FILES: Spec = Spec {
    name: "files",
    title: "From a file, on one core",
    note: "Whole process, from start to end, pinned to one CPU; median of the rounds, in brackets least to most. \
           Ratios are of one round, by time elapsed and by CPU time.",
    experiment: "compare",
    metrics: &[
        "file_rate",
        "file_times",
        "file_times_cpu",
        "file_connections_of_truth",
        "file_memory_peak",
    ],
    key: by_subject,
    columns: &[
        ("capture", load),
        ("program", who),
        ("M frames/s", |it| millions(it, "file_rate")),
        ("synledger is faster, times", |it| {
            median(&it.values("file_times"), 1.0)
        }),
        ("by CPU time, times", |it| {
            median(&it.values("file_times_cpu"), 1.0)
        }),
        ("connections found", |it| {
            percent(&it.values("file_connections_of_truth"))
        }),
        ("peak memory, MiB", |it| mib(it, "file_memory_peak")),
    ],
};

const LIVE: Spec = Spec {
    name: "live",
    title: "Live, one core for kernel and program",
    note: "Sender on one CPU; the kernel's receiving and the program on the other, with the same ring memory. The \
           rate without loss is searched for by halving and confirmed; loss is then measured at 1, 2 and 4 times \
           that rate (as far as the sender goes). Frames read are those at the sender's highest rate, of what a \
           reader that only counts could read in the same round. CPU time is at one rate for all, the lowest \
           without loss: the program's own, and all that its CPU did, kernel and interrupts included.",
    experiment: "compare",
    metrics: &[
        "rate_without_loss",
        "arrived_of_bare",
        "loss_1x",
        "loss_2x",
        "loss_4x",
        "cpu_process",
        "cpu_receiver",
        "connections_of_truth",
        "memory_peak",
    ],
    key: by_subject,
    columns: &[
        ("load", load),
        ("program", who),
        ("M packets/s without loss", |it| {
            millions(it, "rate_without_loss")
        }),
        ("frames read, of the bare reader's", |it| {
            median(&it.values("arrived_of_bare"), 1.0)
        }),
        ("lost at 1 ×", |it| percent(&it.values("loss_1x"))),
        ("2 ×", |it| percent(&it.values("loss_2x"))),
        ("4 ×", |it| percent(&it.values("loss_4x"))),
        ("CPU s per M packets", |it| {
            median(&it.values("cpu_process"), 1.0)
        }),
        ("with the kernel's", |it| {
            median(&it.values("cpu_receiver"), 1.0)
        }),
        ("connections found", |it| {
            percent(&it.values("connections_of_truth"))
        }),
        ("peak memory, MiB", |it| mib(it, "memory_peak")),
    ],
};

const HARM: Spec = Spec {
    name: "harm",
    title: "A web server on the same host",
    note: "nginx, the kernel's half of its traffic and the program share one CPU; wrk loads it from the other. Pairs \
           without and with the program, in turns which comes first. Goodput is the geometric mean of the pairs' \
           ratios; with 95 % confidence it is not below the bound (Student's t on the logarithms). The floor: pairs \
           with `nothing`, with a packet socket that takes no frame (`bare-closed`), and with a reader of both \
           directions that only counts (`bare-one-ring`).",
    experiment: "harm",
    metrics: &["goodput_ratio", "p99_ratio"],
    key: by_subject,
    columns: &[
        ("load", load),
        ("program", who),
        ("goodput, of without", |it| {
            match it.values("goodput_ratio").as_slice() {
                [] => String::new(),
                ratios => digits(mean_ratio(ratios)),
            }
        }),
        ("bound, 95 %", |it| {
            lower_bound(&it.values("goodput_ratio")).map_or(String::new(), digits)
        }),
        ("p99 latency, times without", |it| {
            median(&it.values("p99_ratio"), 1.0)
        }),
        ("pairs", |it| times(it, "goodput_ratio")),
    ],
};

const BOOKS: Spec = Spec {
    name: "books",
    title: "Closed books",
    note: "Every frame that was sent, against what the kernel and the sensor counted; every attempt, by count and by \
           identity. Floods at half, once and twice the rate without loss, and as fast as the sender goes.",
    experiment: "books",
    metrics: &[
        "sent",
        "rate_sent",
        "dropped",
        "dropped_before",
        "unaccounted_frames",
        "unaccounted_attempts",
        "open_lines",
    ],
    key: by_depth,
    columns: &[
        ("load", load),
        ("depth", depth),
        ("floods", |it| times(it, "sent")),
        ("highest rate, M packets/s", |it| {
            spread(&it.values("rate_sent")).map_or(String::new(), |rate| digits(rate.most / 1e6))
        }),
        ("frames lost, all told", |it| {
            percent(&[(sum(it, "dropped") + sum(it, "dropped_before")) / sum(it, "sent").max(1.0)])
        }),
        ("frames unaccounted for", |it| {
            total(it, "unaccounted_frames")
        }),
        ("attempts unaccounted for", |it| {
            total(it, "unaccounted_attempts")
        }),
        ("lines that do not close", |it| total(it, "open_lines")),
    ],
};

const LATENCY: Spec = Spec {
    name: "latency",
    title: "From packet to log line",
    note: "From the kernel's time stamp to the line in the log, in milliseconds; the sender never waits, and every \
           line counts.",
    experiment: "latency",
    metrics: &[
        "latency_p50",
        "latency_p99",
        "latency_p99.9",
        "latency_allowed",
    ],
    key: by_subject,
    columns: &[
        ("state", who),
        ("load", load),
        ("packets/s", |it| {
            it.first()
                .rate_pps
                .map_or(String::new(), |rate| format!("{rate:.0}"))
        }),
        ("p50, ms", |it| ms(it, "latency_p50")),
        ("p99, ms", |it| ms(it, "latency_p99")),
        ("p99.9, ms", |it| ms(it, "latency_p99.9")),
        ("p99 allowed, ms", |it| ms(it, "latency_allowed")),
    ],
};

const SEARCH: Spec = Spec {
    name: "search",
    title: "The sensor's rate without loss",
    note: "Searched for by halving, and confirmed.",
    experiment: "search",
    metrics: &["rate_without_loss", "rate_of_sender"],
    key: by_subject,
    columns: &[
        ("load", load),
        ("depth", depth),
        ("M packets/s without loss", |it| {
            millions(it, "rate_without_loss")
        }),
        ("the sender's highest", |it| millions(it, "rate_of_sender")),
        ("searches", |it| times(it, "rate_without_loss")),
    ],
};

const HIDDEN: Spec = Spec {
    name: "hidden-scan",
    title: "A scan inside a spoofed flood",
    note: "nmap scans while a flood of spoofed SYNs comes as fast as the sender goes; from the packet that decides to \
           the line in the log.",
    experiment: "hidden-scan",
    metrics: &[
        "told_in_time",
        "delay",
        "rate_sent",
        "rss_before",
        "rss_after",
    ],
    key: by_depth,
    columns: &[
        ("depth", depth),
        ("scans", |it| times(it, "told_in_time")),
        ("told within 1 s", |it| total(it, "told_in_time")),
        ("delay, ms", |it| median(&it.values("delay"), 1e6)),
        ("flood, M packets/s", |it| millions(it, "rate_sent")),
        ("memory before, MiB", |it| mib(it, "rss_before")),
        ("after", |it| mib(it, "rss_after")),
    ],
};

const OVERLOAD: Spec = Spec {
    name: "overload",
    title: "Too little CPU",
    note: "The worker is throttled below what comes.",
    experiment: "overload",
    metrics: &[
        "sent",
        "read",
        "overload",
        "attempts_sent",
        "attempts_lost",
        "refusals_lost",
        "unaccounted_attempts",
    ],
    key: by_subject,
    columns: &[
        ("sensor", who),
        ("load", load),
        ("floods", |it| times(it, "sent")),
        ("sent, of what it can take", |it| {
            median(&it.values("overload"), 1.0)
        }),
        ("frames read", |it| {
            percent(&[sum(it, "read") / sum(it, "sent").max(1.0)])
        }),
        ("attempts sent", |it| total(it, "attempts_sent")),
        ("attempts lost", |it| total(it, "attempts_lost")),
        ("refusals lost", |it| total(it, "refusals_lost")),
        ("attempts unaccounted for", |it| {
            total(it, "unaccounted_attempts")
        }),
    ],
};

const SPECS: [Spec; 8] = [BOOKS, LIVE, FILES, HARM, LATENCY, HIDDEN, OVERLOAD, SEARCH];

/// Whether some table shows this row.
#[must_use]
pub fn shows(row: &Row) -> bool {
    let by = |spec: &Spec| {
        row.experiment == spec.experiment && spec.metrics.contains(&row.metric.as_str())
    };
    SPECS.iter().any(by)
}

/// The tables that there are figures for.
#[must_use]
pub fn all(rows: &[Row]) -> Vec<Table> {
    let mut tables: Vec<Table> = SPECS.iter().filter_map(|spec| spec.table(rows)).collect();
    if tables
        .iter()
        .any(|table| ["live", "files"].contains(&table.name))
    {
        tables.push(subjects());
    }
    tables
}

/// What each program writes, and where its drops are read: the other half of a comparison.
fn subjects() -> Table {
    let line = |peer: &dyn Peer| {
        [peer.name(), peer.writes(), peer.drops_from()]
            .map(str::to_owned)
            .to_vec()
    };
    let bare = [
        "bare, bare-one-ring",
        "nothing: it visits each frame's header and counts",
        "PACKET_STATISTICS of each ring",
    ];
    let mut lines = vec![bare.map(str::to_owned).to_vec()];
    lines.extend(peers::all().into_iter().map(line));
    Table {
        name: "subjects",
        title: "What the programs write, and where their drops are read",
        note: "Whether a frame was lost is decided by what was sent and what the program read; its own number of \
               drops is kept beside that.",
        head: vec!["program", "writes", "its number of drops"],
        lines,
        sources: Sources::default(),
    }
}

impl Spec {
    fn table(&self, rows: &[Row]) -> Option<Table> {
        let groups = groups(rows, self.experiment, self.metrics, |row| (self.key)(row));
        if groups.is_empty() {
            return None;
        }
        let show = |group: &Group<'_>| self.columns.iter().map(|(_, show)| show(group)).collect();
        Some(Table {
            name: self.name,
            title: self.title,
            note: self.note,
            head: self.columns.iter().map(|(head, _)| *head).collect(),
            lines: groups.iter().map(show).collect(),
            sources: Sources::of(groups.iter().flat_map(|group| group.rows.iter().copied())),
        })
    }
}

impl Table {
    /// As Markdown, with its origin; an empty line on either side.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |words: &[String]| format!("| {} |\n", words.join(" | "));
        let head: Vec<String> = self.head.iter().map(|&word| word.to_owned()).collect();
        let mut out = format!("\n{}|{}\n", line(&head), "---|".repeat(head.len()));
        for words in &self.lines {
            let escaped: Vec<String> = words
                .iter()
                .map(|word| word.replace('|', "\\|").replace(['\n', '\r'], " "))
                .collect();
            out += &line(&escaped);
        }
        let _ = write!(out, "\n{}", self.note);
        if self.sources != Sources::default() {
            let commands: Vec<String> = self
                .sources
                .commands
                .iter()
                .map(|command| format!("`{command}`"))
                .collect();
            let _ = write!(
                out,
                " {}. Measured by {}.",
                self.sources.sentence(),
                commands.join(", ")
            );
        }
        out + "\n\n"
    }
}

#[cfg(test)]
mod tests;
