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
        "The state that one worker owns. Shards share nothing. Each address has one owner among them. Every shard sends each contact to the owners of its source and of its target. So a scan that is spread over all workers is found at the same port as with one worker.",
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
        "One source sends SYNs to at least N ports of one destination (`--scan-ports`, 4), the newest and the N-th newest less than a window apart (`--scan-window`, 60 s). It is reported once, again at each doubling of its ports and when its verdict rises, and summed up when the rule has been false for the window. The line of the summary therefore comes a window after the last contact, and says when that was (`last touch`). The other scans are reported in the same way.",
    ),
    Item(
        "host sweep",
        "One source sends SYNs to one port of at least N hosts within a window (`--sweep-hosts`, 25; `--sweep-window`, 60 s). A sensor sees only the hosts whose packets come to it.",
    ),
    Item(
        "stealth scan",
        "One source probes at least N ports of one destination within a time (`--stealth-scan`, 3/60s) by segments that open nothing and belong to nothing (technique).",
    ),
    Item(
        "technique",
        "How a stealth probe looks. `null`: no flag; `fin`: FIN alone; `xmas`: FIN, PSH and URG; `flags`: other flags, but none of SYN, ACK and RST; `syn_fin`: SYN with FIN or RST. No stack sends these. `ack` and `maimon` (FIN and ACK): outside a connection that the sensor knows, without data, and answered by RST; without that answer they may belong to a connection that began before the sensor.",
    ),
    Item(
        "UDP scan",
        "One source sends datagrams that open a flow to at least N ports of one destination within a time (`--udp-scan`, 10/60s). A datagram with payload from a port below 1024 to one from 1024 on is taken for an answer whose question was not seen (without payload it is no answer), and multicast and broadcast for no probe. Such an answer accuses nobody even if its port refuses it: a host also refuses what servers send it because somebody asked them in its name, and what a resolver answers when nobody waits any more. A port has refused if ICMP unreachable quotes the datagram: hosts send few of these a second.",
    ),
    Item(
        "slow scan",
        "Of the 12 ports of any hosts to which one source sent SYNs most recently at least N failed (refused, or no answer within 5 s) within a time (`--slow-scan`, 10/8h), the first of them a minute or more before the newest contact. A source whose services are down for long fulfils that, too: name it with `--allow`.",
    ),
    Item(
        "distributed scan",
        "Of the 32 ports of one destination that were tried by SYNs most recently at least N are closed (refused, or no answer within 5 s) within a time (`--distributed-scan`, 20/60s); at least three sources tried them, and at most half of them were tried by one source alone. Its times are whole seconds. So a scan behind decoys is found, too. The alert names no source.",
    ),
    Item(
        "contact, touch",
        "A packet as the rules for scans see it: source, destination, port, time. A SYN counts whether it is answered, refused or neither; so does a retransmission. No rule about sources hears of one that has tried only one port of one host so far; its first contact is kept, and handed in with the second.",
    ),
    Item(
        "half-open",
        "A connection that the server answered with SYN+ACK and the client then reset, without completing it: so scanners ask for open ports. It proves nothing about the client's address.",
    ),
    Item(
        "dark",
        "An address where nothing is (`--dark`): who tries it is searching.",
    ),
    Item(
        "verdict",
        "How sure it is that somebody scans. A rule says what was tried: a client that opens four services of a server fulfils that of port scans, too. The verdict says what came of it. `unproven`: the rule holds, and nothing else says that it is a scan. `suspicious`: some evidence. `scan`: a scan. It rises within an alert, and never falls. It is looked at half a second after the rule became true, after five and a half, then after twice the time. `--alert` says from which verdict on a scan is reported.",
    ),
    Text(
        "The verdict of port scans, host sweeps, UDP scans and slow scans follows from the score, which is the number of ports or hosts that refused or did not answer, less those that answered. UDP ports of traceroute and tracepath, 33434 to 33626 and 44444 to 44508, are meant to fail: they do not count where they do. Each that fails is four times as likely with a scanner as with an honest client, each that answers four times less (success rates of 0.2 and 0.8; Jung and others, 2004), so that the likelihood ratio is 4 to the power of the score. It is `scan` where the score is 4 or more and at least four in five of the ports or hosts have failed, and as many of all that the source tried in the last half hour to hour (where nothing at all came from the one host that is tried, from ten silent ports on: it may be down, and then its clients miss all its services at once; where there is no room for a list of all ports, from thirty failures of the source on); or where the source tried three dark addresses (of 32 numbers that stand for them, three: two addresses may have the same). It is `suspicious` where the score is 2 or more, or the source tried a dark address or left three connections half-open. A stealth scan is a `scan`, by `ack` and `maimon` alone `suspicious`. A distributed scan is `suspicious`. If the target connected to the source within the last half hour (active FTP, callbacks), the verdict of a port scan, UDP scan or stealth scan by the source is one level lower, but for techniques that no stack sends and for dark addresses. Floods have no verdict, as they accuse nobody.",
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
        "How many ports or hosts of a scan were `refused`, `unanswered` for 5 s or `answered`. Those whose first contact is less than 5 s old and has no answer are `pending` (in text `may still answer`).",
    ),
    Item(
        "proof",
        "What shows that the source is who it says: `none`; `answered`, something answered it; `handshake`, it completed a handshake with what it scans. It is no verdict: an honest client has proof, and a spoofed scan has none. Anybody can send a packet in the name of another; only `handshake` makes that hard.",
    ),
    Item(
        "minimum detectable gap",
        "A scan whose ports (or hosts) follow each other by less than this time is found. It is the time of the rule, or less in a flood of new sources that fills a table: `synledger_port_scan_min_detectable_gap_seconds`, and the same of `host_sweep`, `stealth_scan`, `udp_scan` and `slow_scan`. Distributed scans and floods have none. Rules whose time is above an hour promise less: what full tables forget of them is counted, but is no loss.",
    ),
    Item(
        "deduplication horizon",
        "A SYN that comes again within this time is no new connection: 130 s, or less in a flood (`synledger_dedup_horizon_seconds`).",
    ),
    Text(
        "Why a flood shortens these times: a table has room for C entries, such as sources that tried one port of one host so far. If a flood brings R new ones a second, an entry is forgotten after about C / R seconds, and its scan starts from nothing. A scan whose ports follow each other by just C / R seconds is found in half of the cases. So the published gap is the shortest recent time in which an eighth of C came. A scan with this gap is found in 99,999 of 100,000 cases, also in bursts, and in floods whose sources try two ports each. Each gauge is the shortest of all workers.",
    ),
];

const FLOODS: &[Block] = &[
    Item(
        "SYN flood",
        "At least N SYNs at one port of one destination within a time (`--syn-flood`, 1000/1s), of which fewer than a tenth complete a handshake; the rest must add up to over 20 times what the port completes in an average such time (at least one). So neither a busy server's clients nor a download over many connections is a flood. SYNs spread over the ports of a host are no SYN flood, as this rule counts one port: a distributed scan tells of them, where the host refuses them at the next SYN, but of silent ports only at a SYN 5 s later, as most of the last ports touched must have failed; from fewer than three sources they are port scans. Floods of segments with SYN+ACK, with ACK, with FIN or without flags fulfil no flood rule; one source that sends the last two to three ports, or ACKs that these refuse, is a stealth scan.",
    ),
    Item(
        "RST flood",
        "At least N RSTs at one destination within a time (`--rst-flood`, 5000/1s) that belong to no connection. They may be answers to a flood that somebody sent in this destination's name.",
    ),
    Item(
        "UDP flood",
        "At least N datagrams at one destination within a time (`--udp-flood`, 10000/1s) that open a flow, or belong to one that nothing has answered yet: of one flow the first and each 64th behind it count, the latter for 64. Answers whose question was not seen count, too. A reflection flood is made of them: somebody asks servers (DNS, NTP, memcached) in this destination's name, and the servers are its sources. Where only one direction is captured, honest answers count as well.",
    ),
    Item(
        "ICMP flood",
        "At least N ICMP or ICMPv6 messages at one destination within a time (`--icmp-flood`, 1000/1s), but neighbour and listener discovery.",
    ),
    Text(
        "Packets are counted in slots of that time, from multiples of it on, and a slot is judged at its end. A flood is reported once, again when its packets have doubled, and ended after ten slots with less than half of N each. Its number of sources is estimated (HyperLogLog, standard error 6.5 %). Nobody is accused: the sources of a flood are mostly spoofed. `--alert` and `--allow` change nothing about floods, each flag takes `off`.",
    ),
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
        "A worker that falls behind sheds data, never a new connection, a refusal or a scan by SYNs. If that is not enough, rings are full and lose what comes, counted by class: a worker that gets a tenth of the CPU that a flood of SYNs needs loses most of it. `--shed off` leaves it to full rings. There are three levels, each on top of those before it:",
    ),
    Item(
        "1",
        "Begins when over 25 % of a ring of opening or control packets, or over 50 % of a data ring, waits and is late. Sheds UDP and plain TCP segments: the kernel refuses them before it copies them, and counts them if CAP_BPF is held. Still exact: attempts, answers, refusals, ends, and scans by SYNs and by segments without ACK. Not seen: UDP scans and UDP floods, probes by ACK, and the end of handshakes (unless the client ends the connection, too), which SYN floods and proofs are about.",
    ),
    Item(
        "2",
        "Begins when over 50 % of a ring of opening or control packets waits and is late. The worker also returns all frames of its data rings unread, pings among them. The same counts are still exact.",
    ),
    Item(
        "3",
        "Begins when over 75 % of a ring of opening packets waits and is late. Then attempts have no line each (unless `--fold 0`), but a count each second. Still exact: counts of attempts, and scans by SYNs.",
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
        "Raise `--memory-mib`. An attempt takes about 91 bytes for 130 s, a source with one port of one host 24 bytes. A third of the memory of the detectors is for sources; a rule that is off leaves its share to the others.",
    ),
    Item(
        "Alerts are no scans",
        "Take `--alert suspicious` or `--alert scan`. Name monitors and vulnerability scanners of your own with `--allow`, unused addresses with `--dark`; where your own hosts open many ports of one host, raise `--scan-ports-local`.",
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
        "the books close: all is accounted for, with what was missed; 46 identities hold",
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
    Text("Connections inside a tunnel (GRE, VXLAN, IP in IP) are not looked at, nor are scans."),
    Text(
        "Not detected as scans: probes by ACK or FIN+ACK that nothing answers or that carry data, by SYN+ACK, and by RST (other than as a RST flood); datagrams with payload from a port below 1024 to one from 1024 on; SCTP; sweeps of many hosts by pings, datagrams or stealth probes; probes in tiny fragments, other than SYNs; many sources that each try another host; and what is slower than the rules, or succeeds mostly and is slower than the rule for port scans. In an idle scan the SYNs come from the host that is borrowed: the alert names that host.",
    ),
    Text(
        "With `--capture control` (also in `--preset edge`) UDP, pings and bare ACKs are not seen: no UDP scan, UDP flood, flood of pings or scan by ACK is found, and a handshake counts for SYN floods only when the client ends the connection. The same holds while data are shed.",
    ),
    Text(
        "A worker follows at most 256 floods of each kind at a time, fewer with a small `--memory-mib`, and has lists of all ports or hosts for some scans at a time. What finds no room is counted (`without_list`). Scans without a list have evidence of some of their ports only; how many lists a scan finds free may differ from run to run and with the number of workers. That a scan began does not depend on it.",
    ),
    Text(
        "Where one direction of the traffic is not seen, nothing answers: clients look like scanners. A router that says that hosts are unreachable refuses in their name. Whoever can send in the target's name to the scanner (from inside) hides probes by UDP as answers. In `read`, frames behind a time stamp that is seconds ahead count in the slot of that stamp: a flood may be missed there, or its peak be too high.",
    ),
    Text(
        "Fragments other than the first are never attributed to a connection. A SYN that is cut into tiny fragments is joined and counted, but not what answers it: its port counts as silent.",
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
