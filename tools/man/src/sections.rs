//! Sections of manual pages that do not come from flags.

/// A piece of a section.
#[derive(Clone, Copy, Debug)]
pub enum Block {
    /// A paragraph; text between backticks is bold.
    Text(&'static str),
    /// A term and its meaning.
    Item(&'static str, &'static str),
    /// Lines as they are typed or written.
    Lines(&'static [&'static str]),
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its heading, in capitals.
    pub title: &'static str,
    /// Paragraphs, terms and lines.
    pub blocks: &'static [Block],
}

use super::{block, collectors, parquet, restarts, rotation, sandbox, top};
use Block::{Item, Lines, Text};

/// The description of the page `name` behind its first sentence.
pub fn description(name: &str) -> &'static [Block] {
    match name {
        "synledger-run" => RUN_DESCRIPTION,
        "synledger-read" => READ_DESCRIPTION,
        "synledger-check" => CHECK_DESCRIPTION,
        "synledger-block" => block::DESCRIPTION,
        "synledger-top" => top::DESCRIPTION,
        _ => DESCRIPTION,
    }
}

const DESCRIPTION: &[Block] = &[
    Text(
        "synledger writes one record for every new TCP connection, every scan and every flood that the interfaces of a host see, and accounts for every frame that it could not look at. It takes a fixed amount of memory, and never more.",
    ),
    Text(
        "It detects port scans, host sweeps, stealth scans, UDP scans, slow scans, scans that several sources share, and floods of SYNs, RSTs, datagrams and ICMP messages. Each rule has a flag; `synledger`(7) has the rules, what no rule detects, and how sure a scan is (its verdict). Scans by this host are counted, and reported with `--scan-scope all`.",
    ),
    Text(
        "It is no intrusion detection system: it has no signatures and looks at no payload. It records no packets, blocks nothing, and sees inside tunnels only with `--decap`.",
    ),
];

const RUN_DESCRIPTION: &[Block] = &[
    Text(
        "Frames arrive in TPACKET_V3 rings, by default three for each worker and interface, which share `--ring-mib`: packets that may open a connection, packets that answer or end one, and everything else, so that bulk data never displaces a new connection. It needs CAP_NET_RAW, and CAP_BPF to count the frames that `--capture control` filters.",
    ),
    Text(
        "At the end it prints its books: how many frames the kernel offered, how many were read, how many were dropped and where, and whether everything adds up.",
    ),
];

const READ_DESCRIPTION: &[Block] = &[
    Text(
        "The log is byte for byte the same with every number of workers, as long as no table overflows; the books report an overflow. A damaged capture is read up to the damage, and its place is reported.",
    ),
    Text(
        "Several captures are one stream. Files are read in the order of their first time stamps, in whichever order they are named (of equal stamps, in that order). Files that follow one another in time are one capture, as `tcpdump -C` and `-G` cut it: a conversation over two of them is one flow. Files that overlap are merged by time, and their interfaces are others, as where a tap writes one file a direction; where several such sequences follow one another, similar paths tell which file continues which. At most 16 files are merged at once: one more waits until another has ended, its frames may be late, and it is said. Standard input, named pipes and devices cannot be looked into before: each keeps its place in the list, and the files before and behind it are sorted apart.",
    ),
    Text(
        "Interfaces with the same name and link type are one interface in all sections of a pcapng file and in files that follow one another; so are those without a name at the same position in their sections. Each interface index of a Linux cooked capture (version 2, as of `-i any`) is an interface of its own.",
    ),
    Text(
        "Frames are put in the order of their time stamps within `--reorder` (frames of equal stamps keep theirs), as where several queues wrote one capture; what comes later keeps its place and is counted as late. The order does not depend on the number of workers. A stream that pauses is logged after 400 ms: a frame that comes after the pause is not put before those of before it.",
    ),
    Text(
        "A time stamp more than ten minutes after those before it is judged by the next four frames: if none of them lies beyond it (less ten minutes), it is an outlier, its frame is handled and logged at the packet time reached so far, and `stamps_outlying` counts it. If nothing follows, it stands. A stamp more than ten minutes before those before it is a late frame, unless all of the next four stay there, too: then the clock of the capture has started again. What was open ends, and time starts again; standard error names the frame, and `clock_restarts` counts it.",
    ),
];

const CHECK_DESCRIPTION: &[Block] = &[Text(
    "It changes nothing on this host and sends nothing; with CAP_NET_RAW it listens for VLAN tags (`--listen`). With flags of `run` it checks for a run with these flags. It names blind spots: XDP programs, flowtables that hardware executes, bonds and bridges watched with their members, tunnels that are neither watched nor opened (`--decap`), RDMA, and what drivers count as lost under their own names. For each interface it says which firewall `--block` should use there, and what that one does not see.",
)];

/// The sections of the page `name`, behind the options, in their order.
pub fn of(name: &str) -> Vec<Section> {
    let section = |title, blocks| Section { title, blocks };
    let (signals, output, files, examples) = match name {
        "synledger-run" => (Some(RUN_SIGNALS), OUTPUT, RUN_FILES, RUN_EXAMPLES),
        "synledger-read" => (Some(READ_SIGNALS), OUTPUT, READ_FILES, READ_EXAMPLES),
        "synledger-check" => (None, CHECK_OUTPUT, CHECK_FILES, CHECK_EXAMPLES),
        "synledger-block" => (None, block::OUTPUT, block::FILES, block::EXAMPLES),
        "synledger-top" => (None, top::OUTPUT, top::FILES, top::EXAMPLES),
        _ => (Some(SIGNALS), PROGRAM_OUTPUT, FILES, EXAMPLES),
    };
    let status = match name {
        "synledger-check" => CHECK_STATUS,
        "synledger-block" => block::STATUS,
        "synledger-top" => top::STATUS,
        _ => STATUS,
    };
    let configuration = match name {
        "synledger-block" | "synledger-top" => block::CONFIGURATION,
        _ => CONFIGURATION,
    };
    let mut all = vec![section("EXIT STATUS", status)];
    all.extend(signals.map(|signals| section("SIGNALS", signals)));
    if name == "synledger-run" {
        all.push(section("RESTARTS", restarts::RESTARTS));
        all.push(section("SANDBOX", sandbox::SANDBOX));
    }
    all.extend([
        section("CONFIGURATION", configuration),
        section("OUTPUT FORMAT", output),
    ]);
    if matches!(name, "synledger-run" | "synledger-read") {
        all.push(section("ROTATION", rotation::ROTATION));
        all.push(section("COLLECTORS", collectors::COLLECTORS));
        all.push(section("PARQUET", parquet::PARQUET));
    }
    all.extend([
        section("FILES", files),
        section("EXAMPLES", examples),
        section("SEE ALSO", SEE_ALSO),
    ]);
    all
}

const STATUS: &[Block] = &[
    Item(
        "0",
        "Success; also if the reader of standard output closed it, as in `synledger read FILE | head`.",
    ),
    Item(
        "1",
        "It could not start, had a run-time fault, met a damaged capture, `read` was stopped by a signal before the end of its captures, or an output lost records (a full disk, a slow reader, more than the logger could take); a reader that closed standard output is no fault.",
    ),
    Item(
        "2",
        "Usage: a flag has an invalid value, such as an interface that does not exist, or a line of the configuration file is wrong. The message names the value and its range.",
    ),
    Item(
        "3",
        "The books did not close or, with `--strict`, something was missed or the reader of standard output closed it.",
    ),
];

const CHECK_STATUS: &[Block] = &[
    Item("0", "The sensor can start here; there may be warnings."),
    Item("1", "Something keeps it from starting."),
    Item(
        "2",
        "Usage: a flag has an invalid value, such as an interface that does not exist, or a line of the configuration file is wrong. The message names the value and its range.",
    ),
];

const RUN_SIGNALS: &[Block] = &[
    Item(
        "SIGINT, SIGTERM",
        "End the run: rings are closed, frames in them are read, the books are closed and written to standard error. A second one ends the program at once, without books.",
    ),
    Item(
        "SIGUSR1",
        "Write the books so far to standard error (`pkill -USR1 -x synledger`), or that the run still waits for interfaces.",
    ),
    Item(
        "SIGUSR2",
        "Hand over to the next process of the service, by the service manager; if that cannot be, end the run. See RESTARTS.",
    ),
    Item(
        "SIGHUP",
        "Reopen the log files, after another program has rotated them. Files of `zeek:` are closed with `#close` and new ones begun. Then the configuration file is read again. `alert`, `allow`, `dark`, `direction`, `scan-scope`, `output` and the thresholds of all detectors are in force at once, without losing a frame; of all else that has changed the log says that it needs a restart (`reload`: `applied`, `restart_needed`), and whether a restart would fail for its interfaces. A scan that goes on and was not shown so far, but is an alert now, has a record as one that continues. Scans and floods that go on do so with the new threshold. A rule that was off at the start can only be turned on by a restart. Where a rule needs more ports or hosts than before, a scan that goes on is detected up to a window later, and the table takes 16 bytes more for each of them and each pair, beyond `--memory-mib`. Of `output`, whole outputs are added and removed, and `events=` changes; other options and block lists need a restart. While `--block` is on, `block-on`, `block-times`, `block-max` (up to that of the start), `block-rate`, `block-unproven`, `block-private`, `block-prefix6` and `block-keep` hold for blocks to come; a network that may no longer be blocked is let in. A removed output is written out and closed, and its books stay (`output_removed`); an added one (`output_added`) takes about 1.3 MiB beyond `--memory-mib`, and names no services if no output did at the start. In the sandbox it must be in a folder where an output of the start is. A file that is wrong, or has an output that cannot be opened, changes nothing (`reload_failed`, with its line); `synledger check --config FILE` says that beforehand.",
    ),
];

const READ_SIGNALS: &[Block] = &[
    Item(
        "SIGINT, SIGTERM",
        "Stop reading: write to standard error the file and frame reached and the books so far, and exit with 1, since the log is not whole. A second one ends the program at once.",
    ),
    Item("SIGUSR1", "Write the books so far to standard error."),
    Item(
        "SIGHUP",
        "Reopen the log files, after another program has rotated them. Files of `zeek:` are closed with `#close` and new ones begun.",
    ),
];

const SIGNALS: &[Block] = &[Text(
    "`run` and `read` take SIGINT and SIGTERM to end, SIGUSR1 to write their books to standard error, and SIGHUP to reopen their log files (Zeek's are closed and new ones begun); see their pages.",
)];

const OUTPUT: &[Block] = &[
    Text(
        "Text, `text:TARGET`, is one line an event, in UTC, by default connections, alerts and blocks; in `run`, where standard output is the journal of systemd (JOURNAL_STREAM), alerts, blocks and lifecycle records, since journald drops bursts of lines that the books have as written. With `--text-format short`, as on terminals and standard output:",
    ),
    Lines(&[
        "2021-04-28 15:28:05: New connection: 192.0.2.56:5973 -> 10.0.0.5:80",
        "2021-04-28 15:28:05: New connection: [2001:db8::1]:5973 -> [2001:db8::5]:80",
        "2021-04-28 15:28:05: Port scan detected: 192.0.2.56 -> 10.0.0.5 on ports 80,81,82,83",
        "2021-04-28 15:28:05: New connections folded: -> 10.0.0.5:80: 123456 from about 120000 sources (+-3.25 %) in 0.999990 s until 15:28:04, most from 192.0.2.0/24 (1520), 198.51.100.0/24 (900 to 1102)",
        "2021-04-28 15:28:07: Flow ended: 192.0.2.56:5973 -> 10.0.0.5:80 TCP SF fin after 2.000001 s, sent 10 packets 1234 bytes, received 8 packets 4321 bytes",
        "2021-04-28 15:28:06: Port scan continues: 192.0.2.56 -> 10.0.0.5 on ports 80,81,82,83 (verdict: suspicious)",
        "2021-04-28 15:30:05: Port scan ended: 192.0.2.56 -> 10.0.0.5 on ports 80-83, last touch 15:28:05 (4 ports, 3 refused, 0 unanswered, 1 answered; verdict: suspicious)",
        "2021-04-28 15:31:07: SYN flood detected: -> 10.0.0.5:80: 26412 packets, at most 26412 in 1 s, of about 25800 sources",
    ]),
    Text("With `--block`, in `run` alone, also what became of blocks:"),
    Lines(&[
        "2021-04-28 15:28:05: Blocked (dry run): 192.0.2.56 for 10m: port_scan of 10.0.0.5 (4 touched: 3 refused, 0 unanswered, 1 answered; verdict: scan; proof: handshake)",
        "2021-04-28 15:28:09: Block refused (dry run): 192.0.2.1: gateway; port_scan of 10.0.0.5 (4 touched: 4 refused, 0 unanswered, 0 answered; verdict: scan; proof: none)",
        "2021-04-28 15:38:05: Block ended (dry run): 192.0.2.56: expired; its reason: port_scan of 10.0.0.5 (4 touched: 3 refused, 0 unanswered, 1 answered; verdict: scan; proof: handshake)",
    ]),
    Text(
        "With `--text-format full`, as in files, the time has a fraction and its zone (RFC 3339); then come interface and direction (`in`, `out`, `local`, `transit`, `unknown`), `-` where there is none, a colon, and the same words. Each alert about a scan has the answers of the ports and its verdict; each alert whether it is exact and complete:",
    ),
    Lines(&[
        "2021-04-28T15:28:05.123456Z eth0 in: New connection: 192.0.2.56:5973 -> 10.0.0.5:80",
        "2021-04-28T15:28:05.423456Z eth0 in: Port scan detected: 192.0.2.56 -> 10.0.0.5 on ports 80,81,82,83 (4 ports, 3 refused, 0 unanswered, 0 answered, 1 may still answer; verdict: suspicious) (exact) (complete)",
        "2021-04-28T15:29:00.000123Z - -: Stats: the last 60.0 s: 812 frames, 40 new connections, 1 port scans, 0 missed; the books close",
    ]),
    Text(
        "A line begins with its time in the log: the time of the packet or the deadline that made its event due. These times never go back, unless the packets' own do or a record came late (`late_records`). If the event has another time, the line has it, too: `last touch` of a scan that ended, `last packet` of a flow that timed out or was cut short, `until` in a flood record; `(at TIME)` ends a line about the sensor itself if the log was a second or more behind. EVE's `timestamp` is always the event's own.",
    ),
    Text(
        "With `--key vlan` the line of an alert names the tags behind the address of the target, outermost first: `10.0.0.5 in VLAN 10.20`. `Port scan detected` is written once, when the rule becomes true; `Port scan continues` at each doubling of its ports, when its verdict rises, and when its source completes its first handshake within it; `Port scan ended` when the rule has been false for the window, with ranges of ports and their numbers by outcome: refused, unanswered, answered, and those that may still answer. At most 64 ports are listed, then `(+936 more)`. The other kinds begin, continue and end in the same way: `Stealth scan`, `UDP scan` and `Port scan` name source, target and ports; `Host sweep detected: 192.0.2.56 on port 22: 25 hosts`, where above about 3,000 hosts the number follows `at least`; `Slow scan detected: 192.0.2.56: 12 ports of any hosts`; `Distributed scan detected: -> 10.0.0.5 on ports 21,22,23`, which names no source. `SYN flood` names the target and its port, `RST flood`, `UDP flood` and `ICMP flood` the target (`-> 10.0.0.5: 1000 packets, at most 1000 in 1 s, of about 12 sources`): a flood continues when its packets have doubled, ends after ten times its time with less than half of its threshold, and has no verdict. `(verdict: scan)`, in a line that continues, is the verdict so far; lines that end have it behind the outcomes. `(not exact)`: a full table evicted an entry that could have changed the decision. `(not complete)`: not every port or host is known. Lines that start with `Sensor` or `Stats`, if selected, are about the sensor itself.",
    ),
    Text(
        "Zeek, `zeek:DIR`, is files in a folder that exists: conn.log with flow records, notice.log with detections (when they begin, grow to twice, get a higher verdict, end: notes `Scan::Port_Scan`, `Scan::Address_Scan`, `Scan::Stealth_Scan`, `Scan::UDP_Scan`, `Scan::Slow_Scan`, `Scan::Distributed_Scan`, `Flood::SYN_Flood`, `Flood::RST_Flood`, `Flood::UDP_Flood`, `Flood::ICMP_Flood`; `sub` has the phase and, of scans, verdict, proof and outcomes; `src` is unset where there are many), and with `events=alert+flow+stats` stats.log with the books of each interval, as tab-separated values with Zeek's header lines, fields and types, and the field `community_id`; `zeek-json:DIR` has them as JSON lines, without the fields that are unset. `uid` is the same in every run of a capture, and in all records of a flow with `--active-timeout`, each of which has the time and the volumes of its part. Time-outs are Zeek's defaults: 5 s for an attempt and for what is closed, 5 min for TCP (also where Zeek waits an hour: ports 21, 22, 23 and 513), 1 min for all else. Unset, because the sensor does not know them: `service`, `tunnel_parents`; and, as in Zeek, duration and bytes of a flow without a duration. As in Zeek, `orig_bytes` and `resp_bytes` of TCP are those of its sequence numbers: with gaps, and once each. Unlike Zeek's, `duration` includes the last ACK after both FINs, `missed_bytes` has gaps that nobody acknowledged, too, `history` has no letters for zero windows and bad checksums (`w`, `c`), `g` once at most, each of `s`, `h`, `f`, `r` once, and retransmissions (`t`) only behind the handshake, and a connection whose SYN was not seen is `OTH`, or `SHR` or `RSTRH` if only the responder ended it. A file is created with its first record and ends with `#close`. A closed file is named after the time when it was begun: conn.2026-11-29-05-00-00.log (see ROTATION). SIGHUP closes files, too. A conn.log of a killed run is renamed in the same way, never appended to. The folder is locked (flock(2)): a second sensor that names it is refused.",
    ),
    Text(
        "EVE, `eve:TARGET`, is JSON lines with Suricata's names, by default of all events. Members that Suricata does not have are under `synledger`. Every record has `timestamp` (microseconds, `+0000`), `host` (`--sensor`) and `event_type`; those of frames also `in_iface`, `pcap_cnt` (`read`: the number of the frame that decided, counted over all captures in the order of `--reorder`: with one capture in the order of its stamps, or with `--reorder 0`, the number in the file), `vlan`, `src_ip`, `src_port`, `dest_ip`, `dest_port` (ICMP: `icmp_type`, `icmp_code`), `proto`, `community_id` and `flow_id` (of the connection's content: the same in each record of a connection and in each run; alerts have none).",
    ),
    Text(
        "`synledger.service`, in records of `run` alone, names the program at the destination of a new connection or a TCP or UDP flow, if that is an address of this host and a socket listens there: the systemd unit in whose cgroup the socket was made (`nginx.service`; since Linux 5.8), else the command of a process that holds the socket, which without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH at the start is known only for processes of the sensor's own user that listen then. The sockets of the sensor's network namespace are read at the start and every 5 seconds: until then a new listener has no name, and one that ended keeps its own. At most 1024 listeners have names. A socket that systemd opened for a unit (`ssh.socket`) belongs to systemd's own cgroup: its name is the command of the process that got it.",
    ),
    Item(
        "new_connection",
        "A SYN without ACK whose addresses, ports and initial sequence number were not seen for 130 s. `synledger.isn` is that number; `synledger.direction` is `in`, `out`, `local`, `transit` or `unknown`; `synledger.odd` names FIN or RST in the SYN; `synledger.service` is the service at its destination.",
    ),
    Item(
        "new_connections",
        "A flood record: the attempts of one second of packet time to `dest_ip` and `dest_port` that have no record of their own, because more came than `--fold` or, in `run`, because the log had no room for them. It has no source. If more destinations are flooded at once than the table holds, `dest_port` is missing (all ports of an address), or `dest_ip`, too (everything). `synledger.fold`: `count` (exact), `first`, `last`, `sources` (estimated by HyperLogLog) and its standard error `sources_error_pct`, `ports` (estimated, where `dest_port` is missing), `top_sources` (each `prefix`, a /24 or /64, with `count`: at most so many came from it, and at least `count` minus `error`), `reason` (`rate`, or `pressure` if the log had no room) and `pressure` (how many for that reason). `new_connection` records and `count`s together are all attempts.",
    ),
    Item(
        "flow",
        "A flow ended. `flow`: `pkts_toserver`, `pkts_toclient`, `bytes_toserver`, `bytes_toclient`, `start`, `end`, `age`, `state`, `reason`. `tcp`: `tcp_flags`, `tcp_flags_ts`, `tcp_flags_tc`. `synledger`: `isn`, `direction`, `conn_state` and `history` in Zeek's letters, `basis` (how far the handshake is proven: `none`, `data`: the server was seen to send, but no SYN+ACK, `synack`, `handshake`), `end_reason`, `payload_bytes_toserver`, `payload_bytes_toclient`, `ip_bytes_toserver`, `ip_bytes_toclient` (from the IP header on), if anything was sent again or is missing `retransmitted_pkts_toserver`, `retransmitted_pkts_toclient` (TCP segments with payload that bring nothing new), `retransmitted_bytes_toserver`, `retransmitted_bytes_toclient`, `missed_bytes_toserver`, `missed_bytes_toclient` (bytes that the side has passed by its sequence numbers and that were not seen; none with `--capture control`), `tunnel` (the kind of tunnel that its packets came out of, the innermost one: a word of `--decap`), of a flow that lasted longer than `--active-timeout` `interim` (whether it goes on), `part` (how many records it had before) and `since` (from when on this record's volumes count), `gso` (one frame may have been many segments), `midstream` (its beginning was not seen), `preexisting` (it was open when the sensor started), `in_iface_resp` (the interface where the responder was seen, if that is another than `in_iface`), `fragmented`, `saturated` (a counter reached its maximum), `shed` (live: data packets were shed while it was open, so its counters may be too low), `service` (the service at its destination).",
    ),
    Item(
        "alert",
        "A detection. `src_ip` is the scanner; distributed scans and floods have none. With `synledger.scan.src_prefix` (64 or 48) it is an IPv6 network of which many addresses took part, and the verdict is at least `suspicious`. `dest_ip` is the target, for a host sweep and a slow scan the destination of the deciding packet; `dest_port` is the port of a host sweep or a SYN flood. `proto` is `TCP`, for udp_scan and udp_flood `UDP`, for icmp_flood `ICMP` (also of ICMPv6). `alert`: `action`, `gid` (5973), `signature_id`, `rev`, `signature`, `category` (`Attempted Information Leak`, of floods `Attempted Denial of Service`), `severity`: 1 while the verdict is scan, and of floods; 2 while it is suspicious; 3 of unproven ones, and of everything that ended. The `signature_id` is 1001 for a port_scan that started, 1002 for one that continues, 1003 for one that ended; in the same way host_sweep has 1011 to 1013, stealth_scan 1021 to 1023, udp_scan 1031 to 1033, slow_scan 1041 to 1043, distributed_scan 1051 to 1053, syn_flood 1061 to 1063, rst_flood 1071 to 1073, udp_flood 1081 to 1083, icmp_flood 1091 to 1093.",
    ),
    Item(
        "alert, synledger.scan",
        "Of every kind: `kind`, `phase` (`started`, `continues`, `ended`), `window_s`, `exact`, `complete`, `first` (time of the first packet that counts). How much, by kind: `ports` and `hosts`; where `hosts` is 1 also `port_list` and `ports_not_listed`; of a slow_scan `places` (ports of any hosts); of floods `packets` since they began and `peak` (most in one `window_s`). Scans have `verdict` (`scan`, `suspicious`, `unproven`), `evidence` and `proof` (evidence that the source address is not spoofed: `none`; `answered`, something answered it; `handshake`, it completed a handshake with what it scans; never of a network). `evidence`: `refused`, `unanswered`, `answered`, `pending` (ports or hosts by outcome), `score` (refused and unanswered less answered; UDP ports of traceroute count as neither refused nor unanswered) and, where there is one source, `source`: what is known of it over the last half hour to hour, whatever its targets: `places` (ports of hosts that it tried, but for UDP ports of traceroute: an estimate; places that are tried again and again may count up to four times), `answered` (those of them that answered), `half_open` (connections that it reset instead of completing them), `dark` (addresses of `--dark` that it tried, 32 stand for more), `techniques` (of stealth probes: `null`, `fin`, `xmas`, `flags`, `syn_fin`, `ack`, `maimon`), `friendly` (the target connected to it first, within half an hour: the verdict is one level lower). Where there are many sources: `sources` (how many: an estimate; of a distributed_scan that of the deciding ports, at most 32), of floods also `top_sources` (up to 8 that sent most, and more than one packet in 64, each `src_ip` with `packets` and `error`: it sent at least `packets`, and at most `error` more); both count from half of the rule's N packets on, of a syn_flood also `completed` (handshakes).",
    ),
    Item(
        "block",
        "In `run` with `--block`: a block was carried out, refused or has ended. `src_ip` is who, unless it is a network. All else is in `synledger.block`: `net` (an address has the whole length), `mode` (that of `--block`), `dry_run` (true: nothing is dropped), `action`. Of `blocked`: `for_s` (its whole time in seconds), `until`, `renewed` (its time began anew by hand), and of a detection `nth` (how often the source was blocked, this time included) and `delay_us` (microseconds from the moment when the detection was due to the answer). Of `refused`: `reason`, as the counter `block_refused` has them, and of `kernel_error` `errno`. Of `ended`: `cause` (`expired`, or as in the counter `block_removed`), `since`, and where the kernel counts `dropped_packets` and `dropped_bytes`. `why` is `detection` (with `kind`, `verdict`, `proof`, `dest_ip`, `count` and `evidence`, as in an alert), `hand` (with a person's `words`), `import` (with the name of the list as `import`) or `found` (the kernel had it). A refusal of the same network for the same reason has a record once an hour; all are counted.",
    ),
    Item(
        "alert, services",
        "`synledger.services`: the services at the touched ports of one host, at most 8, each with `port` and `service`; `synledger.service`: that at the `dest_port`.",
    ),
    Item(
        "stats",
        "The books, every `--stats-interval` seconds (60), and as the last record of a run. The last one has every counter. Earlier ones omit counters of 0, rings and outputs without any other, and horizons that did not change: an absent counter is 0. Their `totals` have no `rings`. `stats`: `uptime`, and `capture.kernel_packets` and `capture.kernel_drops` since the start, as in Suricata. `synledger`: `final` (the last one), `interval_s`, `run_s`; of the interval: `books` (the counters below, `rings` and `outputs`), `complete` (nothing was lost), `missed` (how much was lost, by cause), `missed_bound` (how many attempts may be among that: at most `attempts`, and some of `frames_before_rings`, whose kind is unknown); `totals`, the same four of the whole run; `closed`, `identities`, `open_identities` (whether everything adds up, and what does not: `identity`, `left`, `right`); `dedup_horizon_seconds` (a SYN that comes again sooner than this after the first one is no new connection: 130 s, or less if a full table evicted attempts in the last 8 s); `port_scan_min_detectable_gap_seconds`, `host_sweep_min_detectable_gap_seconds`, `stealth_scan_min_detectable_gap_seconds`, `udp_scan_min_detectable_gap_seconds` and `slow_scan_min_detectable_gap_seconds` (a scan with smaller gaps between its ports or hosts is found: the window, or in a flood of new sources the shortest recent time in which an eighth of a table was filled; after that time 99,999 of 100,000 entries are still there), each the least of all workers; a rule that is off has none. `filtered_frames` and `shed_in_kernel` are null if they are not counted. A ring is identified by `interface`, `class` and `worker`, an output by its place on the command line (`output`), a block list, in `responders`, by its place among block lists (`responder`). With `--block`, `block_delay` has the `count` of blocks by detections since the start and how long they took from the moment when the detection was due to the answer (`sum_seconds`, `max_seconds`).",
    ),
    Item(
        "lifecycle",
        "A change of the sensor's state: `synledger.event` is a stable word, `synledger.message` one sentence. The words: `start`, `stop`, `handed_over` (another process goes on), `taken_over` (this one goes on where `process` was; nobody read the rings for `unread_ms`), `handover_failed` (the run goes on, or stops where the service manager waits for that), `not_handed_over` (another process starts anew: this one ends its records and stops), `reload` (`applied` and `restart_needed`: flags whose value in the configuration file changed), `reload_failed`, `output_added`, `output_removed` (by a reload), `reopen_failed`, `rotation_failed` (a file cannot be rotated, compressed or removed; once, until that succeeds), `torn_record` (at the start: an earlier run was killed, or its disk was full, within a record: its `bytes` were cut off at the end of `output`), `not_watched` (with `--state`, at the start: nothing was watched between `from` and `until`, for `not_watched_s` seconds; `cause` is `clean_stop`, `killed`, `reboot`, or `clock`, where the length is unknown; `process` of the earlier run, `stopped`, `step_s` if the clock was set meanwhile), `state_unreadable`, `state_failed`, `state_written`, `no_frames` (no frame on an interface for five seconds, though it was busy, or never a frame, or its own counters go on: `in_iface`, `silent_s`, `cause`: `link_down`, `idle`, `namespace`, `xdp` (an XDP program takes the packets), `taken` (something else does), `bypass` (packets are sent past every capture), `filter`; `unseen_rx_packets`, `unseen_tx_packets` by the interface's counters), `frames_back`, `blind_spot` (at the start: what no watched interface shows, or two show, as `synledger-check`(1) says), `clock_step`, `worker_moved`, `stalled` (with a watchdog: threads that make no progress), `metrics_failed` and `metrics_back` (the file of `--metrics textfile:`), `metrics_unanswered` (clients of the metrics that were closed without an answer), `fanout_unproven`, `link_up`, `link_down`, `link_renamed`, `link_removed`, `link_back`, `link_failed`, `link_unwatched`, `scans_out_of_scope` (scans by this host that `--scan-scope exposed` does not show, once a minute: how many `scans`, and `src_ip` and `dest_ip` of the newest), `straggler`, `straggler_back`, `alerts_folded`, `degradation` (a worker sheds at another level: `worker`, `direction` up or down, `level`, `from_level`, `reason`, how full the ring of each class is (`open_ratio`, `control_ratio`, `data_ratio`) and whether it is late (`open_late`, `control_late`, `data_late`), `hold_s`), `loss_began`, `loss_lasts` and `loss_ended` (something is lost: `reason`, `lost` of how many (`of`), for an output its name (`output`); repeated each minute), `output_recovered`, `blocklist_failed` and `blocklist_written` (a block list cannot be written, and is written again), `guard_unrenewed` (gateways, resolvers, time servers or SSH connections can no longer be read), `block_rate` (more is to be blocked than `--block-rate` allows: once, until a minute has passed without that), `block_restored` (the kernel had lost blocks, which were ordered again), `block_firewall` (what the firewall reports), `books_open` (an identity of the books no longer holds), `books_closed`, `sandbox_refused` (a thread of the sensor asked for a system call that its sandbox does not allow: see SANDBOX of `synledger-run`(1)), `witness_missing` and `witness_extra` (with `--witness`: an attempt that only the witness has, or only the ledger; `src_ip`, `src_port`, `dest_ip`, `dest_port`, `isn`, `in_iface`, `seen_ns`; at most ten a second, all are counted).",
    ),
    Text(
        "A block list, `blocklist:PATH`, is a file with the addresses of scanners, one a line, IPv4 first; behind each a `#` and: `kind`, `first` and `last` (when it was seen), `ports` (a `+` stands for more), `hosts` (at least so many), `proof`, `expires`, `events` (detections). The first lines are comments: who wrote it, when, and the number of addresses. `comments=off` writes only addresses. A new list is written to a temporary file, mode 0644, and renamed, so that every reader gets one whole list: at most once a second when it changes, also when sources expire, and in `read` at the end, as of the last packet. At the start of `run` it is empty.",
    ),
    Text(
        "A source is listed for every alert about it whose verdict is `scan`, if there is evidence that its address is not spoofed. `verdict=suspicious` and `verdict=unproven` list more, but nobody whose verdict is below `--alert`: with `unproven` also who merely opens many services. Floods and distributed scans name no source, and list nobody. `proof=` is the least that suffices: `handshake` (default: it completed a handshake with what it scans, since the first SYN of this scan), `answered` (something answered it with SYN+ACK) or `none` (spoofed packets can put any address on the list). A UDP scan has no handshake. SYNs with the spoofed address of a source, within a window of its own honest connection, count as its scan: give a short `expire=`, or `--allow` sources that matter. A source stays until `expire=` (1h; 1s to 365d) after it was last seen; SYNs without that proof do not prolong it. At most `max=` sources (65536; 1 to 1048576) are listed: the oldest are removed, and counted. Never listed are this host's addresses, the gateways of its default routes, the name servers in `/etc/resolv.conf` and systemd-resolved's (read again each minute, and when an address or interface changes), addresses of `--local` or `--allow`, whatever the port, and loopback, multicast and broadcast addresses; a source that becomes one of them is removed. `read` uses only `--local` and `--allow`. Detections outside `--scan-scope` or below `--alert` list nobody.",
    ),
    Text(
        "To load it into sets of nftables whose elements expire after an hour, even if the sensor has ended (`set scanners4 { type ipv4_addr; flags timeout; }` and `scanners6` of `ipv6_addr` in a table `inet edge`), with the list as `$1`:",
    ),
    Lines(&[
        "{ echo flush set inet edge scanners4; echo flush set inet edge scanners6",
        r"  sed -nE 's/^([0-9.]+)( .*)?$/add element inet edge scanners4 { \1 timeout 1h }/p",
        r#"    s/^([0-9a-f.]*:[0-9a-f.:]*)( .*)?$/add element inet edge scanners6 { \1 timeout 1h }/p' "$1""#,
        "} | nft -f -",
    ]),
    Text(
        "A report, `read --report`, has attempts by outcome, the sources and the destinations with most of them, scans and floods by kind with the ports that they tried, the largest of them, and what is damaged or was missed. It holds the same with any number of workers. An attempt counts once, with what came of it before its flow first ended: a SYN that is repeated later is no other. Attempts of all directions count, whatever `--direction` selects; scans that `--allow` or `--alert` withholds are only a number. Up to 8,192 sources and as many pairs of address and port are counted exactly, each source's hosts up to 16 and its ports up to 65,536 (in 256 sources; 16 in others). Beyond that a number is marked as a lower bound or, for hosts, as an estimate, and a note says how many attempts one that is not listed may have. The page of `html:FILE` draws attempts, scans and ports with JavaScript that is in it; without JavaScript it has the tables.",
    ),
    Text(
        "Standard error is for people: what is watched and what that takes, warnings, hints while no frames come, links that change, and at the end the books.",
    ),
];

const CONFIGURATION: &[Block] = &[
    Text(
        "Flags may stand in a TOML file. `run` and `check` read `/etc/synledger/synledger.toml` if it exists; with `--config` every subcommand reads that file instead. `read` reads no other: the log of a capture must not depend on the machine. `--no-config` reads none.",
    ),
    Lines(&[
        "preset = \"edge\"",
        "interface = [\"eth0\", \"ens*\"]",
        "ring-mib = 128",
        "scan-window = \"5m\"",
        "promiscuous = true",
        "metrics = false",
    ]),
    Text(
        "A key is the name of a flag without dashes in front, once, in no table. A flag without a value is `true` or `false`; a flag that may be repeated takes a list, too; `false` also unsets a flag that has no default. The command line wins over the file, and the file over `--preset`. A list is replaced as a whole. On the command line `--no-NAME` unsets what `false` does in the file.",
    ),
    Text(
        "One file serves every subcommand. Each line is checked, then keys of other subcommands are skipped: silently in the default file, with a message on standard error in the file of `--config`. An unknown key, a value out of range and invalid TOML end the program with exit code 2; the message names file, line and what is valid. A file has at most 1 MiB.",
    ),
    Text(
        "`run --dry-run` and `run --verbose` show which file was read, every flag that was given, and where; `check` names the keys that it uses.",
    ),
];

const CHECK_OUTPUT: &[Block] = &[
    Text(
        "One finding a line: `ok`, `note` (worth knowing), `warn` (something may be lost or wrong) or `fail` (the sensor cannot start), then why it matters and the command that changes it. The last line is the summary.",
    ),
    Text(
        "With `--json` one object: `ready`, `failed`, `warnings`, and `findings`, each with `level`, `what`, `why` and `change`.",
    ),
];

const PROGRAM_OUTPUT: &[Block] = &[Text(
    "`run` and `read` write the same lines, as text or as EVE (JSON); `synledger-read`(1) has every form. `check` writes findings.",
)];

const LOG_FILES: &str = "Log files are created with mode 0640, and appended to: a record at their end that is not whole is cut off, and the last line of another text is ended. A symbolic link in the place of a file is refused. A full disk does not stop the sensor: lost records are counted, and reported when writing works again.";

const CONFIG_FILE: &str = "`/etc/synledger/synledger.toml` has flags of `run` and `check`. An example with every flag is installed as `synledger.toml` among the documentation.";

const RUN_FILES: &[Block] = &[
    Text(CONFIG_FILE),
    Text(LOG_FILES),
    Item(
        "/proc/net/softnet_stat, /proc/meminfo, /proc/self/cgroup",
        "Read for losses before the rings, and for what the host allows.",
    ),
    Item(
        "/sys/devices/system/cpu/isolated",
        "CPUs that `--cores` may name in addition to the allowed ones.",
    ),
];

const READ_FILES: &[Block] = &[
    Text(
        "Captures: pcap (micro- and nanoseconds, both byte orders) and pcapng, plain, gzip or zstd; Ethernet, raw IP, Linux cooked (both versions) and BSD loopback frames. A named pipe is read like standard input.",
    ),
    Text(LOG_FILES),
];

const CHECK_FILES: &[Block] = &[
    Text(CONFIG_FILE),
    Item(
        "/proc/net/softnet_stat, /proc/sys/net/core/netdev_max_backlog",
        "The kernel's backlog, and the frames that it lost.",
    ),
    Item(
        "/proc/self/status, /proc/self/cgroup, /proc/meminfo",
        "Capabilities, limits and memory.",
    ),
];

const FILES: &[Block] = &[
    Text(CONFIG_FILE),
    Text(LOG_FILES),
    Item(
        ".debug/synledger.debug",
        "Beside the installed program, which is stripped: its symbols, where debuggers look for them.",
    ),
];

const RUN_EXAMPLES: &[Block] = &[
    Text("Watch the interfaces that carry a default route, and log to the terminal:"),
    Lines(&["synledger run"]),
    Text("Print what a run would take, and whether it would start:"),
    Lines(&["synledger run --dry-run"]),
    Text(
        "A service: headers of opening and closing packets only, EVE to a file, metrics for Prometheus:",
    ),
    Lines(&[
        "synledger run -i 'ens*,!ens9' --capture control --output eve:/var/log/synledger.json --metrics 127.0.0.1:9477",
    ]),
    Text("The same as a preset, with one more flag; the folder of its log must be there:"),
    Lines(&[
        "mkdir -p /var/log/synledger",
        "synledger run --preset edge --metrics :9477",
    ]),
    Text("Alerts on the terminal, and scanners in a file for a firewall, each for ten minutes:"),
    Lines(&[
        "mkdir -p /run/synledger",
        "synledger run --output text:-,events=alert --output blocklist:/run/synledger/scanners,expire=10m",
    ]),
    Text(
        "Show whom a firewall would shut out, for what and for how long, and change nothing; then do it:",
    ),
    Lines(&[
        "synledger run --block dry-run --block-on scan,stealth_scan --block-times 10m,1d",
        "synledger run --block nft --block-on scan,stealth_scan --block-times 10m,1d",
    ]),
    Text("Report what is at least suspicious; nobody has an address of 192.0.2.128/25:"),
    Lines(&["synledger run --alert suspicious --dark 192.0.2.128/25"]),
    Text(
        "With a second socket as a witness of one in 64 connections; exit code 3 if the two differ:",
    ),
    Lines(&["synledger run -i eth0 --witness 64 --strict"]),
    Text("Two workers on CPUs that are kept free for them, with larger rings:"),
    Lines(&["synledger run -i eth0 --workers 2 --cores 2,3 --ring-mib 256"]),
    Text("Never report our own scanner, nor a prober for scans of ports 22, 80, 443 and 8443:"),
    Lines(&[
        "synledger run --allow 192.0.2.10 --allow 192.0.2.11:22,192.0.2.11:80,192.0.2.11:443,192.0.2.11:8443",
    ]),
];

const READ_EXAMPLES: &[Block] = &[
    Text("The connections, scans and floods of a capture:"),
    Lines(&["synledger read trace.pcapng.zst"]),
    Text("Read a capture that was cut into files, and one of networks with the same addresses:"),
    Lines(&[
        "synledger read trace.pcap*",
        "synledger read --key vlan trunk.pcap",
    ]),
    Text("From another program, while it captures:"),
    Lines(&["tcpdump -i eth0 -U -w - | synledger read -"]),
    Text("A summary on the terminal, and the same as a page with pictures:"),
    Lines(&["synledger read --report --report=html:report.html trace.pcap"]),
    Text(
        "Flows as JSON, alerts on the terminal; `--local` names our addresses, for the direction:",
    ),
    Lines(&[
        "synledger read --local 10.0.0.0/8 --output eve:flows.json,events=flow --output text:-,events=alert a.pcap b.pcap",
    ]),
];

const CHECK_EXAMPLES: &[Block] = &[
    Text("Is this host ready for a run with these flags?"),
    Lines(&["synledger check -i eth0,eth1 --workers 4 --ring-mib 256"]),
    Text(
        "Is it ready for the run that a file describes, and would that run start? Each setting that it would refuse is a failure, with its line. What a sensor that runs holds, such as the address of its metrics, is none: ask before SIGHUP.",
    ),
    Lines(&["synledger check --config ./synledger.toml"]),
    Text("Does receive hashing keep both directions of a connection together?"),
    Lines(&["synledger check -i eth2 --fanout qm"]),
    Text("Does a trunk carry networks with the same addresses, for `--key vlan`?"),
    Lines(&["synledger check -i eth2 --listen 30s"]),
];

const EXAMPLES: &[Block] = &[Lines(&[
    "synledger check",
    "synledger run -i eth0",
    "synledger read trace.pcap",
])];

const SEE_ALSO: &[Block] = &[Text(
    "`synledger`(1), `synledger-run`(1), `synledger-read`(1), `synledger-check`(1), `synledger-block`(1), `synledger-top`(1), `synledger`(7), `tcpdump`(8), `ethtool`(8), `packet`(7), `capabilities`(7)",
)];
