//! The sensor's books: its counters, from the last statistics record of its log.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::eve::{self, LogLine};

/// Counters of one ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct RingCounts {
    /// Its interface.
    pub interface: String,
    /// `open`, `control`, `data`, or `all`.
    pub class: String,
    /// Frames offered, drops included.
    pub tp_packets: u64,
    /// Frames dropped.
    pub tp_drops: u64,
    /// Frames read.
    pub frames_read: u64,
    /// Frames shed: given back unread.
    pub shed_data: u64,
}

/// The books of a whole run. A counter that the record lacks is 0.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Its rings.
    pub rings: Vec<RingCounts>,
    /// The sensor's identities that do not hold.
    pub open_identities: Vec<String>,
    all: Value,
}

/// New connections of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoggedConnections {
    /// Written, a line each.
    pub written: u64,
    /// Folded into records of many.
    pub folded: u64,
    /// Of a kind that the output is not asked for.
    pub not_asked: u64,
    /// Dropped, for any cause.
    pub dropped: u64,
}

impl Books {
    /// Reads them from a log.
    ///
    /// # Errors
    ///
    /// When the log has no last statistics record.
    pub fn read(log: &Path) -> Result<Self> {
        let mut found = None;
        eve::read(log, |line| {
            if let LogLine::Books(value) = line {
                found = Some(value);
            }
        })?;
        let value =
            found.with_context(|| format!("{}: no last statistics record", log.display()))?;
        Self::from_record(&value)
    }

    /// Takes them from a statistics record.
    ///
    /// # Errors
    ///
    /// When it has no rings.
    pub fn from_record(value: &Value) -> Result<Self> {
        let ours = &value["synledger"];
        let all = ours["totals"]["books"].clone();
        let rings = serde_json::from_value(all["rings"].clone()).context("rings of the books")?;
        let open = ours["open_identities"].as_array();
        let open_identities = open.into_iter().flatten().map(Value::to_string).collect();
        Ok(Self {
            rings,
            open_identities,
            all,
        })
    }

    /// A counter, or the sum over its labels.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        match &self.all[name] {
            Value::Object(labels) => labels.values().filter_map(Value::as_u64).sum(),
            value => value.as_u64().unwrap_or(0),
        }
    }

    /// Frames that filters in the kernel rejected: the filter of `--capture control`, and those that shed bulk data
    /// under load. `None` if the sensor could not count them.
    #[must_use]
    pub fn filtered(&self) -> Option<u64> {
        let counted = |at: &Value, there: bool| match at {
            Value::Null if there => None,
            value => Some(value.as_u64().unwrap_or(0)),
        };
        let all = &self.all;
        let chosen = counted(
            &all["filtered_frames"],
            all.get("filtered_frames").is_some(),
        )?;
        let levels = all["shed_spent_seconds"].as_object().into_iter().flatten();
        let was_shed = levels
            .filter(|(level, _)| level.as_str() != "0")
            .any(|(_, seconds)| seconds.as_f64() > Some(0.0));
        Some(chosen + counted(&all["shed_in_kernel"], was_shed)?)
    }

    /// Steps of load shedding to a higher level.
    #[must_use]
    pub fn shed_steps(&self) -> u64 {
        let levels = self.all["shed_up"].as_object().into_iter().flatten();
        levels.filter_map(|(_, steps)| steps.as_u64()).sum()
    }

    /// New connections in the first output.
    #[must_use]
    pub fn logged(&self) -> LoggedConnections {
        let output = &self.all["outputs"][0];
        let count = |name: &str| output[name]["connection"].as_u64().unwrap_or(0);
        let causes = output["dropped"].as_object().into_iter().flatten();
        let dropped = causes.filter_map(|(_, kinds)| kinds["connection"].as_u64());
        LoggedConnections {
            written: count("written"),
            folded: count("folded"),
            not_asked: count("not_asked"),
            dropped: dropped.sum(),
        }
    }

    /// A sum over the rings of one class.
    #[must_use]
    pub fn class(&self, class: &str, count: fn(&RingCounts) -> u64) -> u64 {
        let rings = self.rings.iter().filter(|ring| ring.class == class);
        rings.map(count).sum()
    }

    /// A sum over all rings.
    #[must_use]
    pub fn all_rings(&self, count: fn(&RingCounts) -> u64) -> u64 {
        self.rings.iter().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_counter_is_0() {
        let value = json!({ "synledger": { "totals": { "books": {
            "new_connections": 7, "unread_frames": { "arp": 2, "llc": 3 },
            "rings": [{ "class": "open", "tp_packets": 9, "tp_drops": 2, "frames_read": 7, "more": 1 }],
            "outputs": [{ "written": { "connection": 5 },
                          "dropped": { "slow": { "connection": 2 }, "queue": { "flow": 1 } } }],
        } }, "open_identities": [] } });
        let books = Books::from_record(&value).expect("books");
        assert_eq!(
            (books.count("new_connections"), books.count("unread_frames")),
            (7, 5)
        );
        assert_eq!((books.count("witnessed"), books.filtered()), (0, Some(0)));
        let logged = books.logged();
        assert_eq!((logged.written, logged.folded, logged.dropped), (5, 0, 2));
        assert_eq!(books.class("open", |ring| ring.tp_packets), 9);
        assert_eq!(books.class("data", |ring| ring.tp_packets), 0);
        let control = json!({ "synledger": { "totals": { "books": { "rings": [], "filtered_frames": null } } } });
        assert_eq!(
            Books::from_record(&control).expect("books").filtered(),
            None
        );
    }
}
