//! The plots, and the rows that each is made from.

use super::record::Row;
use super::stats::{lower_bound, mean_ratio, spread};
use super::svg::{Bar, Curve, bars, lines};
use super::{Group, groups};

/// A plot, and the table that it is shown with.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name of the table.
    pub table: &'static str,
    /// The picture.
    pub svg: String,
}

/// All plots that have rows.
#[must_use]
pub fn all(rows: &[Row]) -> Vec<Plot> {
    let mut plots = Vec::new();
    let mut add = |table, svg| plots.push(Plot { table, svg });
    for load in loads(rows, "compare", "rate_without_loss") {
        let title = format!("Rate without loss, {load}");
        add(
            "live",
            median_bars(
                rows,
                "rate_without_loss",
                load,
                (&title, "M packets/s", 1e6),
            ),
        );
        let title = format!("Loss against rate, {load}");
        add("live", loss(rows, load, &title));
    }
    for load in loads(rows, "compare", "file_rate") {
        let title = format!("From a file, {load}");
        add(
            "files",
            median_bars(rows, "file_rate", load, (&title, "M frames/s", 1e6)),
        );
    }
    for load in loads(rows, "harm", "goodput_ratio") {
        add("harm", harm(rows, load));
    }
    plots
}

fn loads<'a>(rows: &'a [Row], experiment: &str, metric: &str) -> Vec<&'a str> {
    let groups = groups(rows, experiment, &[metric], |row| row.load.as_str());
    groups
        .iter()
        .map(|group| group.first().load.as_str())
        .collect()
}

/// The groups of one load, one for each subject and depth.
fn subjects<'a>(rows: &'a [Row], experiment: &str, metrics: &[&str], load: &str) -> Vec<Group<'a>> {
    let all = groups(rows, experiment, metrics, |row| {
        (&row.load, &row.subject, &row.depth)
    });
    all.into_iter()
        .filter(|group| group.first().load == load)
        .collect()
}

fn label(group: &Group<'_>) -> String {
    let row = group.first();
    format!("{} {}", row.subject, row.depth)
        .trim_end()
        .to_owned()
}

/// The sensor has a colour of its own.
fn colour(group: &Group<'_>) -> usize {
    usize::from(!group.first().subject.starts_with("synledger"))
}

fn median_bars(
    rows: &[Row],
    metric: &str,
    load: &str,
    (title, unit, scale): (&str, &str, f64),
) -> String {
    let groups = subjects(rows, "compare", &[metric], load);
    let all: Vec<Bar> = groups
        .iter()
        .filter_map(|group| {
            let spread = spread(&group.values(metric))?;
            Some(Bar {
                label: label(group),
                value: spread.median / scale,
                reach: (spread.count > 1).then_some((spread.least / scale, spread.most / scale)),
                colour: colour(group),
            })
        })
        .collect();
    bars(title, unit, &all, None)
}

/// Loss over rate, at 1, 2 and 4 times a subject's rate without loss and at the sender's highest rate.
fn loss(rows: &[Row], load: &str, title: &str) -> String {
    const AT: [(&str, &str); 4] = [
        ("rate_1x", "loss_1x"),
        ("rate_2x", "loss_2x"),
        ("rate_4x", "loss_4x"),
        ("rate_max", "loss_max"),
    ];
    let metrics: Vec<&str> = AT.iter().flat_map(|(rate, loss)| [*rate, *loss]).collect();
    let groups = subjects(rows, "compare", &metrics, load);
    let mut others = 0;
    let all: Vec<Curve> = groups
        .iter()
        .map(|group| {
            let middle = |metric: &str| spread(&group.values(metric)).map(|spread| spread.median);
            let point =
                |(rate, loss): (&str, &str)| Some((middle(rate)? / 1e6, middle(loss)? * 100.0));
            let mut points: Vec<(f64, f64)> = AT.into_iter().filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            others += colour(group);
            Curve {
                label: label(group),
                points,
                colour: match colour(group) {
                    0 => 0,
                    _ => others,
                },
            }
        })
        .collect();
    lines(title, ("M packets/s sent", "% lost"), &all)
}

/// Mean goodput ratio with its lower bound.
fn harm(rows: &[Row], load: &str) -> String {
    let groups = subjects(rows, "harm", &["goodput_ratio"], load);
    let all: Vec<Bar> = groups
        .iter()
        .map(|group| {
            let ratios = group.values("goodput_ratio");
            let mean = mean_ratio(&ratios);
            Bar {
                label: label(group),
                value: mean,
                reach: lower_bound(&ratios).map(|bound| (bound, mean)),
                colour: colour(group),
            }
        })
        .collect();
    let title = format!(
        "Goodput of a web server on the same CPU, {load}; thin lines end at the lower 95 % bound"
    );
    bars(&title, "with / without", &all, Some(1.0))
}
