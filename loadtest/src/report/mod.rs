//! `report`: tables and plots, made from the CSV of measurements only.
//!
//! It writes an HTML page, or the tables of a Markdown file between markers.

mod html;
mod numbers;
mod plots;
pub mod record;
mod results;
pub mod stats;
mod svg;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::flags::has_folder;
use crate::judge::Findings;
use crate::say;
use record::Row;
use tables::Table;

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Folder of the measurements (*.csv).
    #[arg(long, value_name = "DIR", default_value = "target/load")]
    from: PathBuf,
    /// Write the HTML page here. Default: report.html in that folder.
    #[arg(long, value_name = "FILE", conflicts_with = "results")]
    html: Option<PathBuf>,
    /// Rewrite the tables of this file, between `<!-- load:NAME -->` and `<!-- /load -->`; no page.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Write the measurements that tables show into this folder, a file for each experiment; no page.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["html", "results"])]
    keep: Option<PathBuf>,
    /// Write nothing; fail if the file's tables differ from the measurements.
    #[arg(long, requires = "results")]
    check: bool,
}

impl ReportArgs {
    /// Writes or checks; a checked file that differs is a failure.
    ///
    /// # Errors
    ///
    /// When measurements or the file cannot be read, or markers are wrong.
    pub fn run(&self) -> Result<Findings> {
        let rows = read(&self.from)?;
        if let Some(folder) = &self.keep {
            keep(&rows, folder)?;
            return Ok(Findings::default());
        }
        let tables = tables::all(&rows);
        let Some(results) = &self.results else {
            if rows.is_empty() {
                bail!(
                    "--from {}: no measurements (*.csv) there: measure with make load",
                    self.from.display()
                );
            }
            let path = self
                .html
                .clone()
                .unwrap_or_else(|| self.from.join("report.html"));
            has_folder("--html", &path)?;
            let page = html::page(&tables, &plots::all(&rows));
            fs::write(&path, page).with_context(|| path.display().to_string())?;
            say!(
                "{}: {} tables of {} figures",
                path.display(),
                tables.len(),
                rows.len()
            );
            return Ok(Findings::default());
        };
        let text = fs::read_to_string(results).with_context(|| {
            let name = results.display();
            format!("--results {name}: cannot be read: name a file with load: markers")
        })?;
        let wanted =
            results::rewrite(&text, &tables).with_context(|| results.display().to_string())?;
        if text == wanted {
            say!(
                "{}: its tables agree with {}",
                results.display(),
                self.from.display()
            );
            return Ok(Findings::default());
        }
        if self.check {
            let mut findings = Findings::default();
            findings.fail(format!(
                "{}: its tables differ from {}: rewrite them with loadtest report --results {} --from {}",
                results.display(),
                self.from.display(),
                results.display(),
                self.from.display()
            ));
            return Ok(findings);
        }
        fs::write(results, wanted).with_context(|| results.display().to_string())?;
        say!("{}: tables rewritten", results.display());
        Ok(Findings::default())
    }
}

/// Writes the rows that tables show, a file for each experiment.
fn keep(rows: &[Row], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("--keep {}", folder.display()))?;
    let mut files: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| tables::shows(row)) {
        files.entry(&row.experiment).or_default().push(row);
    }
    for (experiment, rows) in files {
        let path = folder.join(format!("{experiment}.csv"));
        let mut writer =
            csv::Writer::from_path(&path).with_context(|| path.display().to_string())?;
        for row in rows {
            writer.serialize(row)?;
        }
        writer.flush()?;
    }
    Ok(())
}

/// All rows of a folder's CSV files, in the order of the file names.
fn read(folder: &Path) -> Result<Vec<Row>> {
    if !folder.is_dir() {
        bail!(
            "--from {}: no such folder: make load makes target/load; or name another",
            folder.display()
        );
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "csv"));
    paths.sort();
    let tables = paths.iter().map(|path| record::read(path));
    Ok(tables.collect::<Result<Vec<_>>>()?.concat())
}

/// The rows behind one line of a table: one subject, one load, one setting.
#[derive(Clone, Debug)]
struct Group<'a> {
    rows: Vec<&'a Row>,
}

impl<'a> Group<'a> {
    fn first(&self) -> &'a Row {
        self.rows.first().expect("a group is made of its first row")
    }

    fn values(&self, metric: &str) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.metric == metric);
        rows.map(|row| row.value).collect()
    }
}

/// Rows of an experiment that have one of these metrics, grouped by `key`, in the order of each group's first row.
/// If a group was measured at several commits, only the last commit counts.
fn groups<'a, K: PartialEq>(
    rows: &'a [Row],
    experiment: &str,
    metrics: &[&str],
    key: impl Fn(&'a Row) -> K,
) -> Vec<Group<'a>> {
    let mut groups: Vec<(K, Group<'a>)> = Vec::new();
    for row in rows {
        if row.experiment != experiment || !metrics.contains(&row.metric.as_str()) {
            continue;
        }
        let key = key(row);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.rows.push(row),
            None => groups.push((key, Group { rows: vec![row] })),
        }
    }
    let groups = groups.into_iter().map(|(_, mut group)| {
        let last = group.rows.last().map(|row| row.commit.clone());
        group.rows.retain(|row| Some(&row.commit) == last.as_ref());
        group
    });
    groups.collect()
}

/// Machines, kernels, commits and commands of some rows, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sources {
    machines: Vec<String>,
    kernels: Vec<String>,
    commits: Vec<String>,
    commands: Vec<String>,
    /// The largest steal time, as text of a row.
    steal: String,
}

impl Sources {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let (mut sources, mut most) = (Self::default(), 0.0);
        let add = |known: &mut Vec<String>, word: &str| {
            if !known.iter().any(|one| one == word) {
                known.push(word.to_owned());
            }
        };
        for row in rows {
            let (machine, steal) = row
                .machine
                .split_once(", steal ")
                .unwrap_or((&row.machine, ""));
            add(&mut sources.machines, machine);
            add(&mut sources.kernels, &row.kernel);
            add(&mut sources.commits, &row.commit);
            add(&mut sources.commands, &row.command);
            let share: f64 = steal.trim_end_matches(" %").parse().unwrap_or(0.0);
            if share >= most {
                most = share;
                sources.steal = steal.to_owned();
            }
        }
        sources
    }

    /// All but the commands, as a sentence.
    fn sentence(&self) -> String {
        let commits: Vec<&str> = self
            .commits
            .iter()
            .map(|commit| if commit.is_empty() { "unknown" } else { commit })
            .collect();
        format!(
            "{}, steal at most {}; Linux {}; commit {}",
            self.machines.join("; "),
            if self.steal.is_empty() {
                "unknown"
            } else {
                &self.steal
            },
            self.kernels.join(", "),
            commits.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn row(subject: &str, load: &str, metric: &str, value: f64, run: u32) -> Row {
        Row {
            experiment: "compare".to_owned(),
            subject: subject.to_owned(),
            load: load.to_owned(),
            metric: metric.to_owned(),
            value,
            run,
            machine: "a CPU, 2 cores, governor none shown, steal 0.3 %".to_owned(),
            kernel: "6.18.0".to_owned(),
            commit: "abc".to_owned(),
            command: "loadtest compare".to_owned(),
            ..Row::default()
        }
    }

    #[test]
    fn only_rows_that_tables_show_are_kept() {
        let shown = row("synledger", "syn", "unaccounted_frames", 0.0, 1);
        let other = row("synledger", "syn", "memory_peak", 5.0, 1);
        let mut rows = [shown, other];
        rows.iter_mut()
            .for_each(|row| "books".clone_into(&mut row.experiment));
        let folder = tempfile::tempdir().expect("a folder");
        keep(&rows, folder.path()).expect("written");
        assert_eq!(read(folder.path()).expect("read"), rows[..1]);
    }

    #[test]
    fn groups_are_in_order_and_of_their_last_commit() {
        let mut old = row("b", "syn", "file_rate", 9.0, 1);
        old.commit = "old".to_owned();
        let rows = [
            old,
            row("b", "syn", "file_rate", 1.0, 1),
            row("a", "syn", "file_rate", 2.0, 1),
            row("b", "syn", "other", 3.0, 1),
            row("b", "syn", "file_rate", 4.0, 2),
        ];
        let groups = groups(&rows, "compare", &["file_rate"], |row| row.subject.as_str());
        let found: Vec<(&str, Vec<f64>)> = groups
            .iter()
            .map(|group| (group.first().subject.as_str(), group.values("file_rate")))
            .collect();
        assert_eq!(found, [("b", vec![1.0, 4.0]), ("a", vec![2.0])]);
    }

    #[test]
    fn sources_are_listed_once_with_the_largest_steal() {
        let mut rows = [row("a", "syn", "x", 1.0, 1), row("b", "syn", "x", 1.0, 1)];
        rows[1].machine = rows[1].machine.replace("0.3", "10.5");
        let sources = Sources::of(rows.iter());
        assert_eq!(
            sources.sentence(),
            "a CPU, 2 cores, governor none shown, steal at most 10.5 %; Linux 6.18.0; commit abc"
        );
        assert_eq!(sources.commands, ["loadtest compare"]);
    }
}
