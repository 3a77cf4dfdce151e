//! Sections of the page of `synledger top`.

use super::sections::Block::{self, Item, Lines, Text};

pub const DESCRIPTION: &[Block] = &[
    Text(
        "It asks a running sensor over its status socket (`--status-socket` of `run`; with `--block` there is one by default) once a second, and shows rates of connections and frames, what was dropped and missed, whether the books close, workers and their rings, records of outputs, blocks, the sources and destinations with the most attempts, and the scans and floods that go on. Root, the user of the sensor and the members of `--status-group` may ask.",
    ),
    Text(
        "Sources and destinations are counted while somebody looks: an answer is about the last 30 to 60 seconds, or about the time since the first look. Of a flood that is folded, the sources are known by prefixes, and only those that sent much. All clients that ask within 0.4 s get one answer, so that ten cost the sensor what one costs.",
    ),
    Text(
        "Keys are in the last line of the screen. Colours are left out where NO_COLOR is set. The screen needs 80 columns and 24 lines; a smaller one is cut.",
    ),
];

pub const STATUS: &[Block] = &[
    Item(
        "0",
        "A person ended it, or with `--once` a screen was printed.",
    ),
    Item("1", "No sensor answers, or it refuses."),
    Item("2", "Usage: a word or a flag is invalid."),
];

pub const OUTPUT: &[Block] = &[Text(
    "Of `--once --json`: one object. `counters` are sums since the start of the run, `rates` what each grew by in a second, `at_s` the time of their publication by the monotonic clock; `log` has the counts of sources and destinations over `over_s` seconds, and the scans; `health` what `/healthz` says.",
)];

pub const FILES: &[Block] = &[Item(
    "/run/synledger/synledger.sock",
    "The socket, unless `--socket` names another.",
)];

pub const EXAMPLES: &[Block] = &[Lines(&[
    "synledger run --status-socket /run/synledger/synledger.sock",
    "synledger top",
    "synledger top --once --json",
])];
