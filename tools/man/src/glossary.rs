//! `synledger`(7): what the words mean, how to tune a sensor, and what to do when something is lost.

use crate::sections::Block::{self, Item, Lines, Text};
use crate::sections::Section;

/// The sections of the page, in their order.
pub fn sections() -> Vec<Section> {
    let section = |title, blocks| Section { title, blocks };
    vec![
        section("NAME", NAME),
        section("DESCRIPTION", DESCRIPTION),
        section("CONNECTIONS", CONNECTIONS),
        section("SCANS", SCANS),
        section("FLOODS", FLOODS),
        section("BOOKS", BOOKS),
        section("WITNESS", WITNESS),
        section("LOAD SHEDDING", SHEDDING),
        section("TUNING", TUNING),
        section("WHEN SOMETHING IS LOST", LOSSES),
        section("METRICS AND HEALTH", METRICS),
        section("STANDARD OUTPUT AND ERROR", STANDARD_STREAMS),
        section("LIMITS", LIMITS),
        section("SEE ALSO", SEE_ALSO),
    ]
}

const NAME: &[Block] = &[Text(
    "synledger - concepts, tuning and losses of the ledger of new connections",
)];

const DESCRIPTION: &[Block] = &[
    Text(
        "This page says what the words of the program, its records and its manual pages mean, how rings and cores are chosen, and what helps when something is lost. Flags, records and exit codes are in the pages of the commands.",
    ),
    Item("frame, packet", "What the link layer carries; IP and up."),
    Item(
        "ring",
        "Memory that the kernel fills with frames and a worker reads (TPACKET_V3).",
    ),
    Item(
        "class",
        "Which ring of a worker a frame belongs to: `open` may open a connection (SYN without ACK) or is a probe that no stack sends (NULL, XMAS, FIN without ACK, SYN+FIN), `control` answers or ends one (SYN+ACK, RST, FIN with ACK, ICMP errors), `data` is everything else. A program in the kernel's fanout chooses. It is keyed, so that an attacker who cannot see the workers cannot aim at one of them, and symmetric, so that both directions of a connection meet the same worker. Bulk data therefore never costs a new connection.",
    ),
    Item("worker", "A thread, pinned to a CPU, and its rings."),
    Item(
        "shard",
        "The state that one worker owns. Shards share nothing. Each pair of source and destination has one owner among them. Every shard sends the contacts of a pair to its owner. So a scan that is spread over all workers is found at the same port as with one worker.",
    ),
    Item(
        "direction",
        "Who opened a connection to whom. A local address is one of this host or of `--local`. `in`: from elsewhere to a local address. `out`: from a local address to elsewhere. `local`: from a local address to a local address. `transit`: from elsewhere to elsewhere. `unknown`: `read` without `--local`.",
    ),
    Item(
        "units",
        "KiB and MiB are 1,024 and 1,048,576 bytes. A length of time has a unit, such as `60s` or `5m`. Times in the log are UTC.",
    ),
];

const CONNECTIONS: &[Block] = &[
    Item(
        "new connection, attempt",
        "The first SYN without ACK whose addresses, ports and initial sequence number were not seen for 130 s. A retransmission is the same attempt. Another sequence number on the same ports is a new one, and with `--key vlan` so is one under other VLAN tags.",
    ),
    Item(
        "answered",
        "The server sent SYN+ACK, or data where its SYN+ACK was not seen.",
    ),
    Item(
        "established",
        "One side acknowledged what only the other could have sent: the client has received the SYN+ACK. A guessed sequence number is no proof (one exception is under LIMITS).",
    ),
    Item("refused", "The server sent RST, or ICMP unreachable came."),
    Item("unanswered", "Nothing came within 5 s."),
];

const SCANS: &[Block] = &[
    Item(
        "port scan",
        "One source sends SYNs to at least N ports of one destination (`--scan-ports`), the newest and the N-th newest less than a window apart (`--scan-window`). It is reported once, again at each doubling of its ports, and summed up when it has been quiet for the window. The line of the summary therefore comes a window after the last contact, and says when that was (`last touch`).",
    ),
    Item(
        "contact, touch",
        "A SYN as the rules for scans see it: source, destination, port, time. It counts whether it is answered, refused or neither; so does a retransmission.",
    ),
    Item(
        "host sweep",
        "One source sends SYNs to one port of at least N hosts within a window (`--sweep-hosts`, `--sweep-window`). It is reported in the same way.",
    ),
    Item(
        "exact",
        "No entry that could have changed the decision was evicted from a full table. Otherwise a line says `(not exact)`.",
    ),
    Item(
        "complete",
        "Of an alert: every port or host of the scan is known. Of statistics: nothing was lost. Otherwise a line of an alert says `(not complete)`.",
    ),
    Item(
        "evidence",
        "How many ports or hosts of a scan were `refused`, `unanswered` for 5 s or `answered`. Those whose contact is less than 5 s old and has no answer are `pending` (in text `may still answer`).",
    ),
    Item(
        "proof",
        "What shows that the source is who it says: `none`; `answered`, something answered it; `handshake`, it completed a handshake with what it scans. Anybody can send a packet in the name of another; only `handshake` makes that hard.",
    ),
    Item(
        "minimum detectable gap",
        "A scan whose ports (or hosts) follow each other by less than this time is found. It is the window, or less in a flood of new sources that fills the table: `synledger_port_scan_min_detectable_gap_seconds`, `synledger_host_sweep_min_detectable_gap_seconds`.",
    ),
    Item(
        "deduplication horizon",
        "A SYN that comes again within this time is no new connection: 130 s, or less in a flood (`synledger_dedup_horizon_seconds`).",
    ),
    Text(
        "Why a flood shortens these times: a table has room for C pairs of source and destination. If a flood brings R new pairs a second, a pair is forgotten after about C / R seconds, and its scan starts from nothing. A scan whose ports follow each other by just C / R seconds is found in half of the cases. So the published gap is the shortest recent time in which an eighth of C came. A scan with this gap is found in 99,999 of 100,000 cases, also in bursts, and in floods whose sources try two ports each. Each gauge is the shortest of all workers.",
    ),
];

const FLOODS: &[Block] = &[
    Item(
        "folded",
        "Attempts above `--fold` a second to one destination and port have no line each. One record a second has their number (`New connections folded:`, EVE `new_connections`). In `run`, attempts for which the log has no room are folded, too (reason `pressure`).",
    ),
    Item(
        "flood record",
        "Its count is exact: lines and folds together are all attempts. Its number of sources is estimated (HyperLogLog, standard error 3.25 %). Its prefixes are those that sent most; each says how many of its count may belong to another. If one second has more than about 200 flooded ports, records cover all ports of an address, or everything.",
    ),
];

const BOOKS: &[Block] = &[
    Item(
        "books",
        "Counters that must add up, from the frames that the kernel offered to the lines that were written.",
    ),
    Item(
        "identity",
        "One sum of the books that must hold. The books close if every identity holds. An identity that no longer holds is reported as `books_open`.",
    ),
    Item("missed", "Lost, with a cause."),
    Item(
        "missed_bound",
        "How many attempts may have been among what was missed, at most. What a network card lost before the kernel saw it has no kind; it is a number of frames.",
    ),
];

const WITNESS: &[Block] = &[
    Text(
        "`--witness N` compares one in N connections with what another socket and another library see. Its filter reaches IPv4, and IPv6 without extension headers, plain or with at most two VLAN tags, and no fragments. Each attempt of the sample is one of these:",
    ),
    Item("agreed", "Ledger and witness have it."),
    Item("missing", "The ledger lacks it."),
    Item("extra", "Only the ledger has it."),
    Item(
        "excused",
        "The books explain the difference: ring drops, full queues and tables, links that change, a repetition within 10 s of the end of the 130 s.",
    ),
    Text("A sound build has no attempt that is missing or extra."),
];

const SHEDDING: &[Block] = &[
    Text(
        "A worker that falls behind sheds data, never a new connection, a refusal or a scan. If that is not enough, rings are full and lose what comes, counted by class: a worker that gets a tenth of the CPU that a flood of SYNs needs loses most of it. `--shed off` leaves it to full rings. There are three levels, each on top of those before it:",
    ),
    Item(
        "1",
        "Begins when over 25 % of a ring of opening or control packets, or over 50 % of a data ring, waits and is late. Sheds UDP and plain TCP segments: the kernel refuses them before it copies them, and counts them if CAP_BPF is held. Still exact: attempts, answers, refusals, ends, scans.",
    ),
    Item(
        "2",
        "Begins when over 50 % of a ring of opening or control packets waits and is late. The worker also returns all frames of its data rings unread. The same counts are still exact.",
    ),
    Item(
        "3",
        "Begins when over 75 % of a ring of opening packets waits and is late. Then attempts have no line each (unless `--fold 0`), but a count each second. Still exact: counts of attempts, and scans.",
    ),
    Text(
        "Shares are of the ring's bytes. A ring is late if its oldest frame has waited for more than two block timeouts and 5 ms, or if it dropped frames. So neither a burst that is read in time nor a trickle begins a level. Data are kept at every level while they are less than a quarter of what comes and their ring does not fill: in a flood of SYNs, established connections keep their counts.",
    ),
    Text(
        "A level begins at once. It ends after 1 s in which nothing was dropped and no late ring was filled to half of the level's share. If the same level begins again within 30 s, this 1 s doubles, up to 30 s.",
    ),
    Text(
        "Each step is a lifecycle record (`degradation`) and a line on standard error, at most one every 10 s. It is counted as `synledger_shed_up_total`, `synledger_shed_down_total` and `synledger_shed_spent_seconds_total`; `synledger_shed_level` is the level now. What was shed counts as missed. Flows that were open meanwhile have `shed`: their state is that of their control packets, their volume is what was seen, and `basis` is `synack` if the end of the handshake was not.",
    ),
];

const TUNING: &[Block] = &[
    Text(
        "`synledger check` names what limits the sensor on this host, and the command that changes it. `run --dry-run` shows what a run would take, ring by ring, and whether it would start; `run --verbose` says how long each ring absorbs a burst.",
    ),
    Item(
        "Rings are full in bursts",
        "Raise `--ring-mib`. It is the memory of one worker, shared by its interfaces; `--ring-per-interface` gives each interface all of it. Of its share, an interface's rings of opening packets take a quarter, those of control packets an eighth, those of data the rest.",
    ),
    Item(
        "Rings are full all the time",
        "Raise `--workers` and name CPUs for them with `--cores`, isolated ones if there are any; or capture less with `--capture control`.",
    ),
    Item(
        "Tables overflow",
        "Raise `--memory-mib`. An attempt takes about 89 bytes for 130 s, a pair with one port 16 bytes.",
    ),
    Item(
        "The log costs too much",
        "Lower `--fold`, or leave out events with `--output KIND:TARGET,events=...`.",
    ),
    Item(
        "Lines come too late",
        "Lower `--block-timeout-ms`; blocks are then handed over less full, which costs CPU.",
    ),
    Item(
        "A mirror port",
        "Take `--promiscuous`. `--fanout cpu` and `--fanout qm` follow the receive queues: use them only if `check --fanout MODE` proves that receive hashing is symmetric.",
    ),
    Item(
        "A service that starts at boot",
        "Take `--wait`: it waits for interfaces that are named and not there yet. Take `--preset edge` or `--preset ledger`.",
    ),
];

const LOSSES: &[Block] = &[
    Text(
        "The last lines of `run` and `read` say what was missed, of how much, why and what helps, and then whether everything adds up:",
    ),
    Lines(&[
        "missed: 5299 of 600000 frames (0.88 %) were dropped by full rings, at most 279 new connections among them; raise --ring-mib or --workers, or capture less: --capture control",
        "the books close: all is accounted for, with what was missed; 38 identities hold",
    ]),
    Text(
        "During a run, a loss is reported on standard error when it begins, each minute while it lasts, and when it ends (`losing:`, `still losing:`, `no longer losing:`). The log has the same as lifecycle records (`loss_began`, `loss_lasts`, `loss_ended`). An output that takes nothing, such as one on a full disk, is reported within a second, before it has lost a line. These are the reasons, in records, metrics and `/healthz`:",
    ),
    Item(
        "link",
        "A watched interface is down or gone. Look why it went.",
    ),
    Item(
        "nic_drops",
        "Network cards had no room. `synledger check` says what to change.",
    ),
    Item(
        "backlog_drops",
        "The kernel's backlog was full. Raise `net.core.netdev_max_backlog`; `synledger check` has the command.",
    ),
    Item(
        "ring_drops",
        "Rings were full. Raise `--ring-mib` or `--workers`, or capture less: `--capture control`.",
    ),
    Item(
        "shed",
        "Data dropped by load shedding. As for `ring_drops`.",
    ),
    Item(
        "cut_by_depth",
        "Frames were cut before their transport header. `--capture full` keeps them whole.",
    ),
    Item(
        "link_type",
        "Frames of a capture are of a link type that `read` cannot read (`frames_of_unread_links`); its number and name are in the message. Capture as Ethernet, as raw IP or cooked (`tcpdump -y`).",
    ),
    Item(
        "flow_tables_full, scan_tables_full",
        "Full tables evicted entries. Raise `--memory-mib`.",
    ),
    Item(
        "contacts_dropped",
        "Queues to the scan detectors were full: a scan may be missed. Raise `--memory-mib`, or lower `--workers` if there are several.",
    ),
    Item(
        "witness, log_gone",
        "A fault of the program. Please report it.",
    ),
    Item(
        "list_full",
        "The list of a responder was full: newer sources replaced older ones. Raise its `max=`.",
    ),
    Item(
        "list_write",
        "A responder could not write: the old list stays. Look at its directory and its disk.",
    ),
    Item(
        "output",
        "An output lost records. The message says whether its disk is full, it cannot be written, its reader has left or is too slow, or more came than can be written (leave out events with `events=`, or lower `--fold`).",
    ),
    Text(
        "With `--strict`, a run that missed anything ends with exit code 3. Books that did not close end with 3 in any case: that is a fault of the program.",
    ),
];

const METRICS: &[Block] = &[
    Text(
        "`--metrics ADDR` serves Prometheus metrics at `/metrics` (text 0.0.4, or OpenMetrics for those who ask for it). Each counter of the books is there with `synledger_` before its name and, unless it says what there is now, `_total` behind it; `synledger-run`(1) lists them.",
    ),
    Text(
        "`/healthz` answers `ok`, or `degraded` with a line for each reason while something is lost or a watched interface is down or gone (`link`). The status is then 200, or 503 at `/healthz?strict`; books that do not close are 503 in any case. The metric `synledger_degraded{reason=\"...\"}` is 1 for the same reasons.",
    ),
    Text("To have Prometheus read a sensor that runs with `--metrics :9477`:"),
    Lines(&[
        "scrape_configs:",
        "  - job_name: synledger",
        "    static_configs:",
        "      - targets: ['edge1.example:9477']",
    ]),
    Text("Expressions that are worth an alert:"),
    Lines(&[
        "synledger_books_closed == 0",
        "synledger_degraded == 1",
        "increase(synledger_missed_total[5m]) > 0",
        "synledger_port_scan_min_detectable_gap_seconds < 10",
    ]),
    Text(
        "EVE has the books as `stats` records, every `--stats-interval` seconds (60: below 5 MB a day on an idle host). Readers made for Suricata's records expect one every 8 s.",
    ),
];

const STANDARD_STREAMS: &[Block] = &[
    Text(
        "Standard output has the log alone, also of `make run >FILE`. `run` says on standard error what it watches, then `watching ...` once frames are let in, then what the run takes. Later it says which links change, which scans by this host are not shown, and gives a hint while no frame comes. At the end it prints the books there.",
    ),
    Text(
        "`run` never waits for a slow reader. It keeps 1 MiB of lines for it, then counts the lines that are lost (cause `slow`) and reports them. When its reader leaves (`run ... | head`), it says so and ends with its books and exit code 0, with `--strict` 3.",
    ),
    Text(
        "`read` waits for its reader, until Ctrl-C. When the reader leaves, it ends with 0 without a word; with `--strict` it says so and ends with 3. Ctrl-C on a pipe ends the writer, too: if its end comes first, that is the end of the capture, and the exit code is 0.",
    ),
];

const LIMITS: &[Block] = &[
    Text("Connections inside a tunnel (GRE, VXLAN, IP in IP) are not looked at."),
    Text(
        "Fragments other than the first are never attributed to a connection. A SYN that is cut into tiny fragments is joined and counted.",
    ),
    Text(
        "A SYN that is seen twice in different wrappings (plain, and in PPPoE, MPLS, FabricPath, MACsec or Cisco metadata, fragments or behind very long IPv6 extension headers) may meet two workers in `run` and then counts twice; `read` counts it once. `syn_outside_class` says how many came in that way.",
    ),
    Text(
        "`--capture control` rejects what the kernel's program cannot follow as far as the TCP flags, SYNs in such wrappings among them. They count as frames that the filter rejected, if CAP_BPF is held.",
    ),
    Text(
        "A client proves a handshake by acknowledging a number that the server was seen to send; where data was lost, the server proves it by acknowledging what the client was seen to send. Nobody else knows these numbers: a blind guess is right once in 2^32 times, divided by the bytes that the server was seen to send. What the server acknowledges is believed within its first window of 64 KiB, in a segment whose own number is near its others, and of a RST only with a number that it was seen to send: a server also acknowledges a spoofed SYN, with the numbers of a connection that it has on these ports, and a firewall answers with the client's. A connection of which neither was seen stays answered.",
    ),
    Text(
        "The fanout hash has 32 bits. It withstands an attacker who cannot see which worker a packet reaches, and no more.",
    ),
    Text(
        "Outside `--fanout class` only frame books and scan decisions are promised. What a host itself sends follows its transmit queue (`qm`) or the sending CPU (`cpu`), whatever the receive hashing is: there both directions of a connection meet different workers.",
    ),
    Text(
        "What a network card loses before the kernel sees it has no kind. The books show a number.",
    ),
];

const SEE_ALSO: &[Block] = &[Text(
    "`synledger`(1), `synledger-run`(1), `synledger-read`(1), `synledger-check`(1), `packet`(7)",
)];
