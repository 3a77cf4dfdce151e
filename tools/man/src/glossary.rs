//! `synledger`(7): what the words mean, how to tune a sensor, and what to do when something is lost.

use crate::metrics::METRICS;
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
        section("BLOCKING", BLOCKING),
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

const BLOCKING: &[Block] = &[
    Text(
        "With `--block nft` or `--block xdp` the kernel drops what comes from whom the sensor blocks. With `--block dry-run` the sensor decides the same, and logs and counts that as a firewall would answer; nothing on the host is changed.",
    ),
    Item(
        "nftables",
        "The table `inet synledger` has sets of addresses and networks, each element with its time and a counter, and one rule for each set in a chain of the hook prerouting at priority raw: before connections are tracked, for what this host takes and what it forwards. No other table is read or changed. A helper process changes it: it has CAP_NET_ADMIN and no other privilege, checks every order again, and its working half is started again if it dies. The sensor itself gives CAP_NET_ADMIN up. From Linux 6.9 on the kernel keeps others from changing the table (flags owner and persist); before, what others change is put right, and said. At a clean end the table is removed unless `--block-keep` is given; after a crash it stays, and the next run takes it over with its blocks: also those that others added meanwhile, with at most 366 days, but none without a time. The program `nft` is not needed; a kernel without nf_tables is refused at the start, and so is a table of that name that another sensor or program owns, or that has other chains, or sets of other names, keys or flags. Not dropped: bridged frames, and flows that hardware or a flowtable forwards past netfilter. The sensor sees dropped packets as before: packet sockets come first.",
    ),
    Item(
        "XDP",
        "An XDP program at every interface that is watched looks the source address up by prefix, counts, and drops: before the kernel makes a packet of the frame where the driver can do that (native mode), else just after (generic mode); `block_firewall` says which. For floods of blocked sources that is the cheapest place. It reads Ethernet, up to two VLAN tags, IPv4 and IPv6; all else passes, and so do outgoing packets and interfaces without Ethernet headers (tun, PPP, tunnels) and loopback. Its bytes count whole frames, those of nftables count IP packets. Each block ends by itself, even if no process of the sensor lives. Interfaces that are watched again after they were gone get the program, too. Another XDP program is never replaced: that interface is left out, which is said, and looked at again every ten seconds; a start where every interface is left out fails. The kernel takes no program at an interface below one that has a program, such as a port of a bridge that comes after it: that one is left out as well. Two sensors cannot block by XDP in one network namespace.",
    ),
    Text(
        "Linux 5.9 or later is needed. The helper process is that of nftables, with CAP_NET_ADMIN and CAP_BPF (and CAP_PERFMON where the kernel's verifier wants it, before Linux 6.6) and no other privilege. Maps and links have names in `/sys/fs/bpf/synledger/v1/`, in a folder for each network namespace: `netns-` and its cookie, a number that no other one gets until the machine starts again; before Linux 5.14, which tells no cookies, `net-` and its inode number, which a later namespace may get. The helper mounts the file system at `/sys/fs/bpf` if nobody has and it may. So blocks outlive a crash, and the next run takes them over. Where there is no such file system, or not for this user, all blocks end when the working half of the helper dies, which is said at the start, and `--block-keep` keeps nothing. A clean end removes program, maps and names unless `--block-keep` is given. Some drivers set their queues up anew when an XDP program comes or goes: frames are lost for that moment.",
    ),
    Item(
        "what each sees",
        "Both see packets of connections that are established already, and packets that this host forwards. Neither sees flows that a NIC or a flowtable forwards past it, nor the inner addresses of tunnels: the outer source is what is blocked. XDP drops frames that a bridge would forward; nftables here does not. With nftables the sensor sees dropped packets as before; what XDP drops, it never sees: the books, connections and scans of a blocked source end there, its connections time out, and an upstream tap sees packets that this host does not. A sensor that runs as root and has CAP_BPF could open the maps by their names: with XDP an attacker who runs code in it is kept from the blocks less well than with nftables.",
    ),
    Item(
        "who is blocked",
        "The source of a detection that `--block-on` names: by default of every scan whose verdict is `scan`. Of an IPv6 network of which many addresses took part, the whole network, but only with `--block-unproven`; each address in it that scans and is proven is blocked by itself, or with `--block-prefix6 64` with its whole /64, which mostly is one host's or one customer's: further addresses of it are the same block. The record names the network (`net`) and the address that was proven (`src_ip`). The summary of a scan that has ended blocks nobody. Floods and distributed scans never do: they have no one source.",
    ),
    Item(
        "proof first",
        "Anybody can send packets in the name of another, and so have others blocked. Therefore a source is blocked only when it has completed a handshake with what it scans (proof `handshake`). A scan by SYNs alone that never completes one is not blocked; `--block-unproven` changes that. Proof is looked at with each record of a scan: when it is detected, when its ports or hosts have doubled, when its verdict rises, and when the source completes its first handshake within it.",
    ),
    Item(
        "how long",
        "`--block-times`: the first block of a source takes the first time, the next one the second, and so on; the last one stays. A source is forgotten when the longest of the times has passed since the end of its last block. What is remembered is of this run alone. A detection of a source that is blocked changes nothing.",
    ),
    Item(
        "the guard",
        "Never blocked, with the word that a refusal has: addresses of this host and of `--local` (`own_address`), next hops of default routes and of routes to a sixteenth of all addresses or more, such as the halves that VPNs set (`gateway`), name servers (`resolver`), time servers (`time_server`), the other ends of SSH connections that are open now (`ssh_peer`), sources of `--allow` (`allowed`; a port there does not matter), link-local addresses (`link_local`), loopback, multicast, reserved addresses, 255.255.255.255, broadcast addresses of this host's networks, and IPv4-mapped addresses in IPv6 headers (`no_host`), networks larger than IPv4 /16 or IPv6 /32 (`too_large`), private networks unless `--block-private` is given (`private`), and whoever a host on our side completed a TCP connection to within the last half hour (`contacted_first`; of blocks by detections). A network is spared if one address in it is, also that of `--block-prefix6`: the address that scanned is then not blocked, either. For such a network the last half hour's connections count to any address of its /64.",
    ),
    Text(
        "Addresses of the host are followed live. SSH connections are looked at every two seconds: those that are established at port 22, and at the ports on which sshd or dropbear listens where the system tells that. Also somebody who only tries passwords there is spared meanwhile. The rest is read every minute, and after a change of links or addresses. Time servers are those that the configuration of chrony, ntpd or systemd-timesyncd names by address, and those to which a daemon has a connected socket; names are not looked up, so name such servers with `--allow`. A block is removed when the guard begins to spare its address.",
    ),
    Item(
        "limits",
        "At most `--block-max` blocks at once. For one more, the least severe leaves, and of those the oldest (`displaced`); where all are more severe, the new one is refused (`full`). At most `--block-rate` blocks by detections in a minute (`rate`), so that nobody can fill the firewall; detection goes on.",
    ),
    Item(
        "books of blocks",
        "Every wish ends in exactly one place: wanted = in the kernel + in flight + refused, by reason + expired + removed, by cause. Every ten seconds, and when a helper was started again, they are compared with what the kernel has: blocks that it has lost are ordered again (`block_restored`), and until they are there again an identity of the books does not hold. `synledger_block_delay_seconds` is the time from the moment when a detection was due to the kernel's answer.",
    ),
    Item(
        "what blocking cannot promise",
        "After a crash what is blocked stays so until its time; without a new start `synledger block flush` lets everybody in (by hand `nft delete table inet synledger`, with XDP `rm -r /sys/fs/bpf/synledger`). What an earlier sensor left by another way to block than that of the next one stays, too, which is said as `block_firewall`: `synledger block flush --socket none` removes it. Names in `/sys/fs/bpf/synledger` of another network namespace are removed when a helper starts, once no helper uses them and none of their programs is at an interface, as when that namespace is gone; others stay, and `block_firewall` says so. Before Linux 5.14 a new namespace with the inode number of one that is gone takes its blocks over. What a block dropped is counted just before it is removed, and half a second before its time is over: what came later is not in the record of its end, nor is more than the last list had (every ten seconds) if the helper is gone. A network is never proven by a handshake, as one address in it shows nothing about the others: it is blocked by hand, or with `--block-unproven`. The proof is one of the address, not of each packet: who forges SYNs in the name of a host that connects to us by itself meanwhile has it blocked; name such hosts with `--allow`. Answers that are forged in the name of this host prove nothing (`packets_martian`), but those in the name of a host behind it do. If both helper processes are killed at once, no block is added or removed until the next start: it is said as `block_firewall`, `/healthz` is degraded (`blocking`), and sources that are to be blocked are refused (`no_answer`); what is in the kernel stays until its time is over. Connections that are older than half an hour, or than the run, are no contact of ours.",
    ),
    Item(
        "by hand",
        "`synledger block` lists, adds, removes, exports and imports blocks while the sensor runs, and lists, exports and removes what one left that has ended; see `synledger-block`(1).",
    ),
    Item(
        "by other programs",
        "The source has examples in `tools/deploy`; none of them knows whom the guard spares, so name such addresses there. fail2ban: copy `filter.d` and `jail.d` of `tools/deploy/fail2ban` to /etc/fail2ban, write `--output eve:/var/log/synledger.json,events=alert`, and reload it. The filter `synledger-eve` takes alerts of one source whose verdict is `scan` and whose proof is `handshake`; `synledger-eve[verdict=suspicious, proof=any]` takes more. The filter `synledger` reads lines of text in the format `full`, which do not have the proof. CrowdSec: copy `parsers` and `scenarios` of `tools/deploy/crowdsec` to /etc/crowdsec, `acquis.yaml` to /etc/crowdsec/acquis.d/synledger.yaml, write the same EVE file, and restart it; IPv6 networks, which are never proven, are not banned. A line counts when a scan is detected or continues, not when it ends.",
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
        "Each step is a lifecycle record (`degradation`) and a line on standard error, at most one every 10 s. It is counted as `synledger_shed_up_total`, `synledger_shed_down_total` and `synledger_shed_spent_seconds_total`; `synledger_shed_workers` says how many workers are at a level now. What was shed counts as missed. Flows that were open meanwhile have `shed`: their state is that of their control packets, their volume is what was seen, and `basis` is `synack` if the end of the handshake was not.",
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
        "Take `--wait`: it waits for interfaces that are named and not there yet. Take `--preset edge` or `--preset ledger`. Under systemd (`Type=notify`) the sensor says when it watches, reopens its files and stops. With `WatchdogSec` it gives a sign of life three times in that time, but only if every worker and the logger have moved since the last one; which thread has not is the lifecycle record `stalled`. Take at least 10 s: a logger that a slow disk holds up for that long is ended, too. The packages' unit has all that.",
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
        "blocking",
        "The block helper is gone for good: `--block` adds and removes nothing more, and sources that are to be blocked are refused (`no_answer`). What is in the kernel stays until its time is over. The sensor has no privilege left to start another. Under a service manager (NOTIFY_SOCKET) it ends with exit code 1, once it has run for half a minute, so that the manager starts it again: the next run finds the blocks in the kernel. Otherwise start `synledger` again; the log says why the helper ended.",
    ),
    Item(
        "output",
        "An output lost records. The message says whether its disk is full, it cannot be written, its reader has left or is too slow, or more came than can be written (leave out events with `events=`, or lower `--fold`).",
    ),
    Text(
        "With `--strict`, a run that missed anything ends with exit code 3. Books that did not close end with 3 in any case: that is a fault of the program.",
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
    Text(
        "Without `--decap` a tunnel (GRE, VXLAN, Geneve, IP in IP) is one flow between its ends: connections and scans inside are not seen. With it they are, in GRE (NVGRE too), IP in IP, VXLAN and Geneve, up to four tunnels in a frame, one of each kind. The frame then counts as the packet inside, with its addresses, ports, VLAN tags and bytes; `tunnels_opened` counts each tunnel, `decapsulated_frames` the frames. What cannot be opened counts as the packet around it, and under its reason in `tunnels_unopened`: cut by the capture (`truncated`), a fragment (of a datagram only the first is known to be a tunnel), a `bad_header`, PPTP (`gre_version`), `gre_routing`, `erspan`, `mpls`, Geneve's `control` messages, another payload, or `too_deep`. Network identifiers (VNI, keys) tell nothing apart: networks in several tunnels that use the same addresses are one. Checksums of GRE are not verified. GTP, Teredo, L2TP, NSH, WireGuard and IPsec are not opened. In `run` the kernel's program does not look into tunnels. Both directions of a tunnel go to one worker by its outer addresses, all connections in it with them: two hosts with a single tunnel keep one worker busy. What two tunnels carry of one connection may meet two workers and count twice; `read` counts it once. Packets in tunnels come by the data ring: under overload their SYNs are lost with data (`syn_outside_class`, cause `tunnel`), while `--shed` keeps them, and `--capture control` lets them pass. `headers` and `control` keep 2048 bytes of each.",
    ),
    Text(
        "Checksums are not looked at without `--checksums verify`: whoever can send past the sensor can then make it believe packets that no host takes. With it, `checksums` counts segments and datagrams by outcome: `right`; `proven` by the NIC; not verified because not computed yet (`pending`: this host's own frames, and merged ones), `cut`, a `fragment`, `absent`, or computed with an address in an `extension` header. A bad one is an unread frame (`bad_ip_checksum`, `bad_tcp_checksum`, `bad_udp_checksum`). ICMP's are not verified. With `--decap` those outside and inside are.",
    ),
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
        "A SYN that is seen twice in different wrappings (plain, and in PPPoE, MPLS, FabricPath, MACsec or Cisco metadata, tunnels, fragments or behind very long IPv6 extension headers) may meet two workers in `run` and then counts twice; `read` counts it once. `syn_outside_class` says how many came in that way.",
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
