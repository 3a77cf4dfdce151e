//! The long help of `--output`.

use super::{JOURNAL_EVENTS, words_of};
use crate::log::formats::FORMATS;
use crate::log::sinks::spool::HELP as SEGMENTS;

/// Help of `rotate=` and `keep=`.
const ROTATION: &str = "\
Options of files: rotate=TIME (1m to 30d), rotate=SIZE (1MiB to 1TiB), or both joined by +: a file that has this size, or was \
begun in an earlier period of TIME (UTC), is closed between two lines and compressed. eve.json becomes \
eve.json.20261130T101500Z.gz, conn.log conn.2026-11-30-10-15-00.log.gz: the time when it was begun. keep=N (1 to 100000): so many \
closed files are kept of each name. keep=SIZE (4MiB to 1024TiB, at least four times rotate=SIZE): so many bytes of each name are \
kept, the open file and what compression takes included; without rotate=SIZE a file then has a sixteenth of it. The oldest are \
removed first; default: all are kept. A file that cannot be rotated goes on; with a limit of bytes up to twice its size, then \
records are dropped and counted.
";

/// Help of outputs to collectors.
const COLLECTORS: &str = "\
Options of collectors: over UDP mtu=576 to 9216 (default 1500) and template=1 to 3600 seconds (default 60) of ipfix: and \
netflow9:, pace=1 to 1000000 messages a second in read (default 5000); domain=0 to 4294967295 of ipfix: and netflow9: \
(default 1). PORT: 4739, 2055 for netflow9:, 514 for syslog: and cef:. What a collector does not take waits, up to 1 MiB; then \
records are dropped and counted. It is tried again each second.
";

/// The long help of `--output`: each format and its options.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Where the log goes.\n\nRepeatable: KIND:TARGET[,OPTION=VALUE]... TARGET is a file, - (or /dev/stdout) for standard \
         output, or /dev/stderr.\n",
    );
    text += &format!(
        "\nWhere standard output is the journal of systemd, text:- of run gets events={} without events=: journald drops \
         bursts of lines.\n",
        words_of(JOURNAL_EVENTS, "+")
    );
    for format in FORMATS {
        let (all, default) = [format.renders, format.events]
            .map(|one| words_of(one, "+"))
            .into();
        text += &format!(
            "\n{}: {}. Option: events={all}; default: events={default}.\n",
            format.forms(),
            format.about,
        );
    }
    text += &format!("\n{ROTATION}\n{COLLECTORS}\n{SEGMENTS}");
    text
}
