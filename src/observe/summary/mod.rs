//! `read --report`: what the captures hold, for a person, as text or as a page with pictures.
//!
//! A listener at the log's tap counts in fixed memory; at the end it is rendered. It has no clock: the same captures
//! give the same bytes, with any number of workers, as long as no table overflows.

mod bins;
mod content;
mod html;
mod reach;
mod scans;
pub mod spec;
mod tallies;
mod text;
pub(super) mod top;

pub use content::Facts;
pub use spec::ReportSpec;

use crate::books::responder::ResponderCounts;
use crate::error::Failure;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::tap::{Listener, Tap, TapEvent};
use crate::respond::replaced::Replaced;
use crate::words::shown;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tallies::Tallies;

/// Rows of a list in text and in a page.
const TEXT_ROWS: usize = 10;
const PAGE_ROWS: usize = 25;

/// Maximum memory of a report.
pub fn memory_bytes() -> u64 {
    // The page is made when the tables of the run are still there.
    Tallies::memory_bytes() + html::PAGE_BYTES_MAX
}

/// The reports of a run: opened before the captures are read, written at the end.
#[derive(Default)]
pub struct Reports {
    text: bool,
    pages: Vec<Page>,
    /// `None` without a report.
    tallies: Option<Arc<Mutex<Tallies>>>,
}

struct Page {
    file: Replaced,
    name: String,
}

impl Page {
    fn open(path: &Path) -> Result<Self, Failure> {
        let number = getrandom::u64().map_err(Failure::run)?;
        let name = shown(path);
        let file = Replaced::at(path, number).map_err(Failure::Run)?;
        file.try_beside().map_err(|error| {
            Failure::Run(format!(
                "open failed for output {name} (a file is written beside it): {error}"
            ))
        })?;
        Ok(Self { file, name })
    }

    fn write(&self, page: &str) -> Result<(), Failure> {
        let written = self.file.replace(|out| out.write_all(page.as_bytes()));
        let name = &self.name;
        written.map_err(|error| Failure::Run(format!("--report html:{name}: not written: {error}")))
    }
}

/// Counts what a report needs. The lock is free until the log has ended.
struct Counting(Arc<Mutex<Tallies>>);

impl Listener for Counting {
    fn on_event(&mut self, event: TapEvent<'_>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.on_event(event);
    }

    fn tick(&mut self, _: LogTime, _: i64) {}

    fn finish(&mut self, _: LogTime, _: i64) {}

    fn take_notice(&mut self) -> Option<Notice> {
        None
    }

    fn counts(&self) -> Vec<ResponderCounts> {
        Vec::new()
    }
}

impl Reports {
    /// Prepares these reports, and counts for them at the log's tap.
    ///
    /// # Errors
    ///
    /// A file could not be written.
    pub fn open(specs: &[ReportSpec], tap: &mut Tap) -> Result<Self, Failure> {
        if specs.is_empty() {
            return Ok(Self::default());
        }
        let pages = specs.iter().filter_map(|spec| match spec {
            ReportSpec::Text => None,
            ReportSpec::Html(path) => Some(Page::open(path)),
        });
        let tallies = Arc::default();
        tap.add(Box::new(Counting(Arc::clone(&tallies))));
        Ok(Self {
            text: specs.contains(&ReportSpec::Text),
            pages: pages.collect::<Result<_, _>>()?,
            tallies: Some(tallies),
        })
    }

    /// Writes all, also after one that failed.
    ///
    /// # Errors
    ///
    /// The first that could not be written, by name. A reader of standard output that has left is none.
    pub fn write(&self, facts: &Facts) -> Result<(), Failure> {
        let Some(tallies) = &self.tallies else {
            return Ok(());
        };
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Ok(());
        if !self.pages.is_empty() {
            let content = content::content(facts, &tallies, PAGE_ROWS);
            let page = html::page(&content, &tallies);
            for file in &self.pages {
                outcome = outcome.and(file.write(&page));
            }
        }
        if self.text {
            let content = content::content(facts, &tallies, TEXT_ROWS);
            outcome = outcome.and(print(&text::text(&content)));
        }
        outcome
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(format!(
            "--report: standard output: not written: {error}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
