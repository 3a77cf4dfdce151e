//! The tables: the rows of each, and its columns.

use std::fmt::Write as _;

use super::numbers::{digits, median, percent};
use super::record::Row;
use super::stats::{lower_bound, mean_ratio, spread};
use super::{Group, Sources, groups};
use crate::receivers::peers::{self, Peer};

/// A table with its origin.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in markers and links.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Explains its numbers.
    pub note: String,
    /// Column heads.
    pub head: Vec<&'static str>,
    /// Lines, a cell for each column.
    pub lines: Vec<Vec<String>>,
    /// Sources of its numbers.
    pub sources: Sources,
}

type Format = fn(&Group<'_>) -> String;

struct TableSpec {
    name: &'static str,
    title: &'static str,
    note: &'static str,
    experiment: &'static str,
    /// The metrics whose rows are used.
    metrics: &'static [&'static str],
    /// Rows with the same key are one line.
    key: fn(&Row) -> [&str; 3],
    columns: &'static [(&'static str, Format)],
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

fn program(group: &Group<'_>) -> String {
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

/// The median, or that there is none.
fn measured(values: &[f64]) -> String {
    match values {
        [] => "not measured".to_owned(),
        _ => median(values, 1.0),
    }
}

fn times(group: &Group<'_>, metric: &str) -> String {
    format!("{}", group.values(metric).len())
}

fn ms(group: &Group<'_>, metric: &str) -> String {
    median(&group.values(metric), 1000.0)
}

const FILES: TableSpec = TableSpec {
    name: "files",
    title: "From a file, on one core",
    note: "The whole process, pinned to one CPU; median of the rounds, in brackets least to greatest. A program's time \
           is divided by synledger's time in the same round. CPU time per frame is a slope: the difference in CPU time \
           between the capture and its first quarter, divided by the difference in frames. Start and end of a program \
           cancel in it; beside it is the CPU time of the whole process.",
    experiment: "compare",
    metrics: &[
        "file_rate",
        "file_times",
        "file_times_cpu",
        "file_cpu",
        "file_cpu_slope",
        "file_connections_of_truth",
        "file_memory_peak",
    ],
    key: by_subject,
    columns: &[
        ("capture", load),
        ("program", program),
        ("M frames/s", |it| millions(it, "file_rate")),
        ("time / synledger's", |it| {
            median(&it.values("file_times"), 1.0)
        }),
        ("CPU time / synledger's", |it| {
            median(&it.values("file_times_cpu"), 1.0)
        }),
        ("CPU ns per frame (slope)", |it| {
            measured(&it.values("file_cpu_slope"))
        }),
        ("CPU s, whole process", |it| {
            measured(&it.values("file_cpu"))
        }),
        ("connections found", |it| {
            percent(&it.values("file_connections_of_truth"))
        }),
        ("peak memory, MiB", |it| mib(it, "file_memory_peak")),
    ],
};

const LIVE: TableSpec = TableSpec {
    name: "live",
    title: "Live, one core for kernel and program",
    note: "The sender has one CPU; the kernel's receiving and the program share the other. Every program has the same \
           ring memory. The rate without loss is found by bisection and confirmed. Loss is measured at 1, 2 and 4 \
           times that rate, or at the sender's highest. Frames read at the sender's highest rate are divided by those \
           that `bare` reads in the same round. CPU time is measured at one rate for all, the lowest without loss: \
           of the program alone, and of its whole CPU with kernel and interrupts, from the first frame to the \
           program's end; its start is not in it.",
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
        ("program", program),
        ("M packets/s without loss", |it| {
            millions(it, "rate_without_loss")
        }),
        ("frames read / bare's", |it| {
            median(&it.values("arrived_of_bare"), 1.0)
        }),
        ("lost at 1 ×", |it| percent(&it.values("loss_1x"))),
        ("2 ×", |it| percent(&it.values("loss_2x"))),
        ("4 ×", |it| percent(&it.values("loss_4x"))),
        ("CPU s per M packets", |it| {
            median(&it.values("cpu_process"), 1.0)
        }),
        ("with kernel", |it| median(&it.values("cpu_receiver"), 1.0)),
        ("connections found", |it| {
            percent(&it.values("connections_of_truth"))
        }),
        ("peak memory, MiB", |it| mib(it, "memory_peak")),
    ],
};

const HARM: TableSpec = TableSpec {
    name: "harm",
    title: "A web server on the same host",
    note: "nginx, the kernel's half of its traffic and the program share one CPU; wrk loads nginx from the other CPU. A \
           pair is a run without and a run with the program; the order alternates. Goodput is the geometric mean of \
           the pairs' ratios; with 95 % confidence it is not below the bound (Student's t on the logarithms). For \
           comparison: no program (`nothing`), packet sockets that take no frame (`bare-closed`), a reader of both \
           directions that only counts (`bare-one-ring`).",
    experiment: "harm",
    metrics: &["goodput_ratio", "p99_ratio"],
    key: by_subject,
    columns: &[
        ("load", load),
        ("program", program),
        ("goodput, with / without", |it| {
            match it.values("goodput_ratio").as_slice() {
                [] => String::new(),
                ratios => digits(mean_ratio(ratios)),
            }
        }),
        ("bound, 95 %", |it| {
            lower_bound(&it.values("goodput_ratio")).map_or(String::new(), digits)
        }),
        ("p99 latency, with / without", |it| {
            median(&it.values("p99_ratio"), 1.0)
        }),
        ("pairs", |it| times(it, "goodput_ratio")),
    ],
};

const BOOKS: TableSpec = TableSpec {
    name: "books",
    title: "Closed books",
    note: "Every frame sent is compared with the counters of kernel and sensor, every attempt with the sensor's log, by \
           count and by identity. Floods at half, once and twice the rate without loss, and at the sender's highest.",
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
        ("frames lost", |it| {
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

const LATENCY: TableSpec = TableSpec {
    name: "latency",
    title: "From packet to log line",
    note: "From the kernel's time stamp to the line in the log, in milliseconds. The sender never waits, and every \
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
        ("state", program),
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

const SEARCH: TableSpec = TableSpec {
    name: "search",
    title: "The sensor's rate without loss",
    note: "Found by bisection, and confirmed.",
    experiment: "search",
    metrics: &["rate_without_loss", "rate_of_sender"],
    key: by_subject,
    columns: &[
        ("load", load),
        ("depth", depth),
        ("M packets/s without loss", |it| {
            millions(it, "rate_without_loss")
        }),
        ("sender's highest", |it| millions(it, "rate_of_sender")),
        ("searches", |it| times(it, "rate_without_loss")),
    ],
};

const HIDDEN: TableSpec = TableSpec {
    name: "hidden-scan",
    title: "A scan inside a spoofed flood",
    note: "nmap scans during a flood of spoofed SYNs at the sender's highest rate. The delay is from the time stamp of \
           the deciding packet to the line in the log.",
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
        ("reported within 1 s", |it| total(it, "told_in_time")),
        ("delay, ms", |it| median(&it.values("delay"), 1e6)),
        ("flood, M packets/s", |it| millions(it, "rate_sent")),
        ("memory before, MiB", |it| mib(it, "rss_before")),
        ("after", |it| mib(it, "rss_after")),
    ],
};

const OVERLOAD: TableSpec = TableSpec {
    name: "overload",
    title: "Too little CPU",
    note: "The worker gets less CPU than the load needs.",
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
        ("sensor", program),
        ("load", load),
        ("floods", |it| times(it, "sent")),
        ("frames sent / read", |it| {
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

const SPECS: [TableSpec; 8] = [BOOKS, LIVE, FILES, HARM, LATENCY, HIDDEN, OVERLOAD, SEARCH];

/// Whether a table shows this row.
#[must_use]
pub fn shows(row: &Row) -> bool {
    let by = |spec: &TableSpec| {
        row.experiment == spec.experiment && spec.metrics.contains(&row.metric.as_str())
    };
    SPECS.iter().any(by)
}

/// All tables that have rows.
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

/// What each program writes, and the source of its number of drops.
fn subjects() -> Table {
    let line = |peer: &dyn Peer| {
        [peer.name(), peer.writes(), peer.drops_from()]
            .map(str::to_owned)
            .to_vec()
    };
    let bare = [
        "bare, bare-one-ring",
        "nothing: it reads each frame's header and counts",
        "PACKET_STATISTICS of each ring",
    ];
    let mut lines = vec![bare.map(str::to_owned).to_vec()];
    lines.extend(peers::all().into_iter().map(line));
    Table {
        name: "subjects",
        title: "What the programs write, and the source of their numbers of drops",
        note: "Frames lost are those sent and not read by the program; its own number of drops is only recorded."
            .to_owned(),
        head: vec!["program", "writes", "its number of drops"],
        lines,
        sources: Sources::default(),
    }
}

impl TableSpec {
    /// Names the programs that this table could have and has not.
    fn absent(&self, groups: &[Group<'_>]) -> String {
        let is_compared: fn(&dyn Peer) -> bool = match self.name {
            "live" => peers::is_live,
            "files" => peers::reads_files,
            _ => return String::new(),
        };
        let has = |name: &str| groups.iter().any(|group| group.first().subject == name);
        let absent: Vec<&str> = peers::all()
            .into_iter()
            .filter(|&peer| is_compared(peer) && !has(peer.name()))
            .map(Peer::name)
            .collect();
        let mut words = String::new();
        if !absent.is_empty() {
            let names = absent.join(", ");
            let _ = write!(
                words,
                " Not measured (not installed, not asked for, or failed): {names}."
            );
        }
        for (name, why) in peers::NEVER_MEASURED {
            let _ = write!(words, " {name} is not measured: {why}.");
        }
        words
    }

    fn table(&self, rows: &[Row]) -> Option<Table> {
        let groups = groups(rows, self.experiment, self.metrics, |row| (self.key)(row));
        if groups.is_empty() {
            return None;
        }
        let show = |group: &Group<'_>| self.columns.iter().map(|(_, show)| show(group)).collect();
        Some(Table {
            name: self.name,
            title: self.title,
            note: self.note.to_owned() + &self.absent(&groups),
            head: self.columns.iter().map(|(head, _)| *head).collect(),
            lines: groups.iter().map(show).collect(),
            sources: Sources::of(groups.iter().flat_map(|group| group.rows.iter().copied())),
        })
    }
}

impl Table {
    /// As Markdown with its sources, between empty lines.
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
