//! `read`: captures in, the same log as live.

use super::{Failure, logging};
use crate::books::Books;
use crate::capture::pcap::CaptureReader;
use crate::cli::ReadArgs;
use crate::config::{Common, ReadConfig};
use crate::locality::Localities;
use crate::log::eve::Interfaces;
use crate::log::logger::{Logger, Summary};
use crate::policy::Policy;
use crate::replay::{self, Replay};
use crate::report::Stats;
use crate::sensor::{self, Board, RunKeys};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

/// Reads the captures one after the other as one stream.
///
/// # Errors
///
/// [`Failure`] when nothing could be read or an output could not be opened. A damaged capture is read as
/// far as it goes and ends with exit code 1.
pub fn read(args: ReadArgs) -> Result<u8, Failure> {
    let config = ReadConfig::new(args)?;
    let common = &config.common;
    let keys = config
        .seed
        .map_or_else(RunKeys::random, |seed| Ok(RunKeys::from_seed(seed)));
    let keys = keys.map_err(Failure::run)?;
    let stop = super::signals::stop_flag().map_err(Failure::run)?;
    let policy = policy(common);
    let interfaces = Interfaces::default();
    let localities = Arc::new(RwLock::new(Arc::clone(&policy.localities)));
    let context = logging::context(common, &interfaces, &localities, true);
    let (shards, consumers) = sensor::shards(common, keys, &policy, false);
    let (mut logger, _notices, control) = logging::open(common, &context, consumers, None, &stop)?;
    let board = Board::new(common.workers);
    let (mut replay, feeds) = Replay::new(common.workers, config.chunk_frames(), keys.fanout);
    let mut damage = None;
    std::thread::scope(|scope| {
        let logger = &mut logger;
        scope.spawn(move || logger.run());
        for (id, (shard, feed)) in shards.into_iter().zip(feeds).enumerate() {
            let board = &board;
            let cpu = common.cores.get(id).copied();
            scope.spawn(move || {
                super::pin(cpu, id);
                replay::work(shard, id, &feed, |shard| board.leave(id, &shard.counts));
            });
        }
        let ends = || stop.load(Ordering::Relaxed) || control.closed.load(Ordering::Relaxed);
        damage = read_files(&config.files, &mut replay, &interfaces, &ends);
        replay.close();
    });
    let books = close_log(common, logger, &board, &replay);
    if control.closed.load(Ordering::Relaxed) {
        // `read | head`: whoever read the log has seen enough.
        return Ok(0);
    }
    if let Some(failure) = damage.take_if(|_| replay.frames() == 0) {
        return Err(failure);
    }
    let code = super::close(common, &books);
    if let Some(damage) = damage {
        return Err(damage);
    }
    Ok(code)
}

/// Closes the log with the one record of statistics, which knows packet time alone: the same bytes with any
/// number of workers, whenever it is written.
fn close_log(common: &Common, logger: Logger, board: &Board, replay: &Replay) -> Books {
    let at_exit = |summary: &Summary| Books {
        shards: board.sum(),
        frames_offered: Some(replay.frames()),
        outputs: logging::books(&common.outputs, &summary.outputs),
        own_records: summary.own,
        late_records: summary.late,
        at_exit: true,
        ..Books::default()
    };
    let (first_ns, last_ns) = replay.span_ns();
    let run_s = last_ns.saturating_sub(first_ns) as f64 / 1e9;
    let summary = logger.finish_with(|so_far| {
        let stats = Stats {
            now: &at_exit(so_far),
            before: &Books::default(),
            interval_s: run_s,
            run_s,
            last: true,
        };
        Some(stats.notice(last_ns))
    });
    at_exit(&summary)
}

fn policy(common: &Common) -> Policy {
    Policy {
        localities: Arc::new(Localities::offline(&common.local)),
        directions: common.directions.clone().into(),
        all_scans: true,
        host: None,
        allow: common.allow.clone().into(),
    }
}

/// Reads files until one is damaged; says how.
fn read_files(
    files: &[PathBuf],
    replay: &mut Replay,
    interfaces: &Interfaces,
    ends: &impl Fn() -> bool,
) -> Option<Failure> {
    let mut first_interface = 0;
    let mut failures = Vec::new();
    for file in files {
        let opened = if file.as_os_str() == "-" {
            CaptureReader::from_stdin()
        } else {
            CaptureReader::open(file)
        };
        let mut reader = match opened {
            Ok(reader) => reader.with_first_interface(first_interface),
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        let bar = progress(&reader);
        let mut known = 0;
        // Called before a chunk is handed out: no event names an interface that the logger does not know.
        let end = replay.read(&mut reader, ends, |reader| {
            bar.set_position(reader.bytes_read());
            for interface in &reader.interfaces()[known..] {
                interfaces.push(interface.name.clone().unwrap_or_default());
            }
            known = reader.interfaces().len();
        });
        bar.finish_and_clear();
        first_interface = first_interface.saturating_add(u16::try_from(known).unwrap_or(u16::MAX));
        failures.extend(end.err().map(|error| error.to_string()));
    }
    (!failures.is_empty()).then(|| Failure::Run(failures.join("\nsynledger: ")))
}

/// A bar for a person who waits for a long file.
fn progress(reader: &CaptureReader) -> ProgressBar {
    const LONG_BYTES: u64 = 64 << 20;
    match reader.total_bytes() {
        Some(total) if total >= LONG_BYTES && std::io::stderr().is_terminal() => {
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
                    .expect("the template is constant");
            ProgressBar::new(total)
                .with_style(style)
                .with_message(reader.name().to_owned())
        }
        _ => ProgressBar::hidden(),
    }
}
