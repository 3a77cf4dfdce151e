//! The section about log files that end.

use super::sections::Block::{self, Item, Text};

pub const ROTATION: &[Block] = &[
    Text(
        "An output with `rotate=` closes its file between two lines and begins a new one. The closed file is compressed (gzip) by a thread of the least priority: under another name, which becomes the right one when the file is whole. A killed run leaves at most an uncompressed one, which the next run compresses. Files of `text:` and `eve:` are then called after the open one, as eve.json.20261130T101500Z.gz (`_001` behind the time where several were begun in a second), those of `zeek:` as conn.2026-11-30-10-15-00.log.gz: names sort by time, UTC, at which the file was begun. A file that is there at the start is gone on with; its time is that at which it was made.",
    ),
    Item(
        "rotate=TIME, rotate=SIZE, rotate=TIME+SIZE",
        "A file ends at each multiple of the time (1m to 30d) or at the size (1MiB to 1TiB), plus at most one line. An empty file does not end.",
    ),
    Item(
        "keep=N, keep=SIZE",
        "So many closed files of each name are kept (1 to 100000), or so many bytes of each name (4MiB to 1024TiB): the open file, closed ones, and what compression takes meanwhile. Bytes are at least four times rotate=SIZE, since room is kept for the open file, the next one, and one that is being compressed; without a size, a file ends at a sixteenth. Default: all are kept.",
    ),
    Item(
        "--log-budget SIZE",
        "So many bytes of all outputs with `rotate=` together, counted in the same way; the oldest closed file of any of them goes first. Closed files of an output that a reload removes stay, and count no more. Outputs without rotate=SIZE get one. A budget that is too small is refused, with the smallest that works.",
    ),
    Text(
        "Only files with such a name are removed, never a link or a folder. Limits in bytes hold at any moment: room is made ahead, and where the thread is late, as on a host without CPU to spare, the logger removes a file itself. A file that cannot be renamed (`rotation_failed`: a read-only or full file system) goes on and is tried again each second; one of `zeek:` is closed, and its records are lost and counted (`io`) until it can be renamed. With a limit of bytes, or a size and a number of files, it does so up to twice its size: then records are dropped, counted (`io`) and said, rather than the disk filled. One that cannot be compressed stays as it is, and is tried again after a minute. On a full disk records wait for room as without rotation (`disk_full`); nothing is removed for that beyond the limits.",
    ),
    Text(
        "Once a second it is looked whether a log file was removed, or another file put in its place: then the file is made, or opened, anew. What was written in that second before is in the old file. While it cannot be made (the folder is missing), up to 1 MiB of records waits, and the rest is lost and counted (`io`). A file that is only renamed, as by logrotate, is written to until SIGHUP: one of both should rotate, not both. A file is locked while it is written (flock(2)): a second process that names it is refused.",
    ),
];
