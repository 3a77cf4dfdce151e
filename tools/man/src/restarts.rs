//! The section about restarts that lose nothing.

use super::sections::Block::{self, Item, Lines, Text};

pub const RESTARTS: &[Block] = &[
    Text(
        "A process can hand over to the next one. It stops its workers between two frames, writes its log, and gives away its packet sockets with their rings, and in sealed memory all that must live on: connections and attempts, scans and floods in progress, folds, events that wait for their turn, contacts between workers, keys, counters. The next one reads on at the next frame. The log has `handed_over` and `taken_over`, with how long nobody read the rings (`unread_ms`). While the rings hold what comes in that time (`--ring-mib`), no frame is lost, no record is missing or written twice, no connection ends, and a scan is reported at its right port. (With `--shed auto` a worker that finds its rings that full may shed data until it has caught up, as at any time; the books have them.) The books go on: those at the end are of all processes together.",
    ),
    Item(
        "By the service manager",
        "`systemctl restart synledger`. The unit has `RestartKillSignal=SIGUSR2` and `FileDescriptorStoreMax=`: at that signal the sensor leaves everything in the manager's store of descriptors and ends with 0. The next process takes it from there, and empties the store. An upgrade of the package restarts in the same way. `systemctl stop` ends all records, as SIGTERM does, and empties the store: stop and start is a gap, which the log names with `--state`.",
    ),
    Item(
        "By a socket",
        "`run --takeover PATH`, with the same command line each time:",
    ),
    Lines(&["synledger run --takeover /run/synledger/next --config /etc/synledger/synledger.toml"]),
    Text(
        "The new process asks the one that listens at PATH, which hands over and ends once the new one has said that it has everything. If the new one refuses or dies before that, the old one goes on as if nothing had happened (`handover_failed`). Before it asks, the new one looks whether it could open its outputs, state and metrics, and ends if not. What fails only after it has everything (a port that another program has taken just then) ends it, and both are gone: have a service manager start it again. If nobody listens there, the new one just starts. Then it listens at PATH. Whoever may ask gets everything that the sensor knows: root, and its own user.",
    ),
    Item(
        "When nothing is taken over",
        "The state of another version has another layout, which has a number of its own; and settings that shape the state must be the same: interfaces (by name and index), workers, `--fanout`, `--capture`, `--key`, rings, memory, the rules of detection (those that a reload has put in force), `--fold`. Policies such as `--allow`, `--alert` and `--scan-scope` may change. So may outputs, but not how many there are, as each takes its part of `--memory-mib`: one of the same name goes on with its books, another one begins with what came before as not asked for. If something differs, a line on standard error says what. At a socket the old process then ends its records and stops (`not_handed_over`), and the new one starts anew. By the service manager the old one is gone already: the ends of its open flows and scans are not logged, and the gap is named as after a kill. The same where the state is damaged, or older than a minute. Nothing is handed over with `--witness`, or while an interface is gone.",
    ),
    Item(
        "What begins anew",
        "Lists of `blocklist:` and the decisions of `--block` (blocks in the kernel stay as after any restart), the books of outputs that a reload has removed (`output_removed` has told them), and the histogram of the log's delay. What network cards lost between the two processes is in no counter.",
    ),
    Item(
        "Memory",
        "For that moment the state is there twice more at most: up to `--memory-mib` in the sealed memory, which counts as shared memory of the service, and in the next process.",
    ),
];
