//! Sections of the page of `synledger block`.

use super::sections::Block::{self, Item, Lines, Text};

pub const DESCRIPTION: &[Block] = &[
    Text(
        "A sensor that runs with `--block` has a socket (`--status-socket` of `run`). This command asks over it. What it may do there, root, the user of the sensor and the members of `--status-group` may do. `synledger`(7) says under BLOCKING who is blocked and who never is.",
    ),
    Text(
        "Where there is no such socket, nobody serves it, or with `--socket none`, `list`, `export`, `del` and `flush` work on what an earlier sensor left in the kernel of this network namespace because it was killed or ran with `--block-keep`: the table `inet synledger`, and the maps and programs of XDP. That needs root, or CAP_NET_ADMIN for nftables and also CAP_BPF for XDP. Who was blocked, until when, and how many packets were dropped is known there, why and since when is not. An element that another program added without an end is listed and removed, too; the next sensor takes none over. `flush` then removes the table, the maps and the programs; the maps are emptied before, so that a program that lives on by another name drops nothing. Nothing of a way to block is changed while a helper process is alive that has it: the error names it, and the way is over the socket of its sensor (`--socket`). What a sensor does not have because it blocks another way is named at its start (`block_firewall`) and with its `list`, by whoever may read it. A table `inet synledger` with other chains, or with sets of other names, keys or flags, belongs to another program and is left alone; a map of another kind as well, while the rest is read and removed. Where no bpf file system is mounted at `/sys/fs/bpf`, nobody can say whether XDP sensors left anything. `add` and `import` need a running sensor: its guard follows the addresses of this host, its gateways and its SSH sessions, and lets in again who becomes one of them; without it a block could shut out the operator, for days.",
    ),
    Item(
        "list [--json]",
        "Print a line for each block: who, until when, since when, how many packets it dropped (where the kernel counts them), why. With `--json` one object.",
    ),
    Item(
        "add NET... [--for TIME] [--reason TEXT]",
        "Block addresses or networks, for an hour unless `--for` says otherwise (1s to 365d). The guard of the sensor may refuse; `--block-rate` does not count them. The time of one that is blocked begins anew. A network has no bits behind its length set; IPv4 networks of /16 to /32 and IPv6 networks of /32 to /128 can be blocked.",
    ),
    Item(
        "del NET",
        "Let an address or network in again, named as in the list. How often it was blocked is forgotten.",
    ),
    Item(
        "flush",
        "Let everybody in again. How often anybody was blocked is forgotten. Where no sensor answers and a part is refused or cannot be read, the ways to block that were removed are named instead.",
    ),
    Item(
        "export [--format cidr|json|nft]",
        "Print all blocks for another program: lines with a network and a comment, a JSON array, or a script for nft that makes a table `inet synledger_export` of its own with two sets and drops what comes from them, each for the seconds that its block has left when the script is written, and without an end what has none. Intervals of a set share no address: what is in a larger network that is blocked, too, is left out, and named in a comment if it is blocked for longer.",
    ),
    Item(
        "import FILE --name NAME [--for TIME]",
        "Block all networks of a file, for 24 hours unless `--for` says otherwise. `NAME`, as the `TEXT` of a reason, has at most 200 bytes and no characters that nobody sees or that change the direction of text. The file has a network a line (`#` begins a comment), or a JSON array of strings or of objects with `net`, or `add element` lines of an nft script. `NAME` stands in the list of blocks and in the log. At most 64 MiB of UTF-8. An object with `until` (as in `2021-04-28T15:28:05Z`; null means nothing) is blocked until then, but no longer than `--for` says; one whose `until` is over is skipped, and printed with its place. An empty array names no network, which is said and no failure. An import changes nothing at all if a line cannot be read or if there is no room for all of its networks (`--block-max`). What the guard refuses, and what another line has already, is left out and printed with its line and the reason.",
    ),
];

pub const STATUS: &[Block] = &[
    Item("0", "All of it was done."),
    Item(
        "1",
        "No sensor answers and none left blocks, the request is refused, or some of the networks are: standard output has each with its reason. Or a part of what an earlier sensor left cannot be read: standard error says which.",
    ),
    Item("2", "Usage: a word or a flag is invalid."),
];

pub const CONFIGURATION: &[Block] = &[Text(
    "It reads no configuration file. The flags of the sensor that it asks may stand in `/etc/synledger/synledger.toml`: see `synledger-run`(1).",
)];

pub const OUTPUT: &[Block] = &[
    Text("Of `list`:"),
    Lines(&[
        "192.0.2.9  until 2021-04-28T16:28:05Z  since 2021-04-28T15:28:05Z  3 packets dropped  port_scan of 198.51.100.7 (12 touched: 9 refused, 2 unanswered, 1 answered; verdict: scan; proof: handshake)",
        "1 block",
    ]),
    Text("Where no sensor answers, the way to block is named behind each:"),
    Lines(&[
        "192.0.2.9  until 2021-04-28T16:28:05Z  since unknown  3 packets dropped  unknown: left by an earlier sensor (nft)",
        "1 block",
    ]),
    Text(
        "`list --json` prints `mode` (that of `--block`), `sensor` and `blocks`. Each block has `net`, `why` in words, `by` (`detection`, `hand`, `import` or `found`), `since`, `until` (null while it is being ordered, and of what was found without an end), of a detection `kind`, and where the kernel counts `dropped_packets` and `dropped_bytes`. Times are rounded down. Where no sensor answers, `mode`, `sensor` and `since` are null, `by` is `found`, each block has a `mode` of its own (`nft` or `xdp`), and `incomplete` says whether a part could not be read.",
    ),
    Text(
        "The protocol of the socket: a client writes one line of JSON, at most 4 MiB within five seconds, and reads one back. At most 64 clients are served at once, and of those with more than 4 KiB or with a list one after the other; whoever finds no room within eight seconds is told `busy`, and nothing was changed. A request has `synledger` (1, the version), `do` (`list`, `add`, `del`, `flush`, `import`), and by that `net`, `nets`, `for_s` (seconds, or a list of them with one for each of `nets`), `reason`, `name`. An answer has `ok`; where that is false `error`, and nothing was changed; else `blocks`, or `carried_out` (how many orders the firewall has carried out) and `refused`, a list of `net`, `reason` and, where it is known, `at`, the place in `nets` from 0.",
    ),
];

pub const FILES: &[Block] = &[Item(
    "/run/synledger/synledger.sock",
    "The socket of a sensor with `--block` or of `synledger top`, unless `--status-socket` names another; mode 0660.",
)];

pub const EXAMPLES: &[Block] = &[
    Text("Who is blocked, and why?"),
    Lines(&["synledger block list"]),
    Text("Block a network for two days, and let an address in again:"),
    Lines(&[
        "synledger block add 198.51.100.0/24 --for 2d --reason flooding",
        "synledger block del 192.0.2.9",
    ]),
    Text("The sensor was killed: who is still blocked, and let all of them in:"),
    Lines(&["synledger block list", "synledger block flush"]),
    Text("Take over a list of networks for a day:"),
    Lines(&["synledger block import drop.txt --name drop"]),
    Text("Hand the blocks of one sensor to another, each for the time that it has left:"),
    Lines(&[
        "synledger block export --format json | ssh other synledger block import - --name first --for 365d",
    ]),
];
