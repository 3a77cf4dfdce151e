//! The section about outputs that go to collectors and to other loggers.

use super::sections::Block::{self, Item, Lines, Text};

pub const COLLECTORS: &[Block] = &[
    Text(
        "Outputs to a collector are messages, not files: `ipfix:`, `netflow9:`, `syslog:`, `cef:`, `journald:`. Each is an output of its own, with books of its own: name as many as there are collectors. None is waited for in `run`: what a collector does not take waits in a buffer of 1 MiB, then records are dropped and counted, `slow` where it does not keep up, `unreachable` where it is down or no route leads to it. A collector that is down is tried again each second, by a new socket; the loss is reported once it is back (`output_recovered`). A name is looked up once, at the start. A reload adds no collector to a sandbox that is closed: that takes a restart.",
    ),
    Lines(&[
        "ipfix:udp://HOST[:4739]     ipfix:tcp://HOST[:4739]",
        "netflow9:udp://HOST[:2055]",
        "syslog:udp://HOST[:514]     syslog:tcp://HOST[:514]     syslog:/dev/log",
        "cef:udp://HOST[:514]        cef:tcp://HOST[:514]        cef:/dev/log",
        "journald:",
    ]),
    Text(
        "`written` counts, over UDP and to a socket of this host, records that the kernel took; nobody hears of a datagram that is lost on its way, but the collector, by a gap in the sequence numbers. Of a UDP collector that is down, the records of the datagrams sent before the refusal came are such. Over TCP `written` counts records that the collector's host has acknowledged: what was on its way when a connection broke is sent again by the next one, from the first byte of its first message, so that no message is cut, lost or there twice. (A collector that ends with messages unread, and a path that lost only acknowledgements, are beyond what TCP says.) `read` waits for a collector over TCP, a minute at most without progress, so that nothing is lost; over UDP it pauses, see `pace=`.",
    ),
    Item(
        "IPFIX (RFC 7011) and its biflows (RFC 5103)",
        "One record for each flow record, with both directions: addresses, ports, protocol, icmpTypeCode, flowStart- and flowEndMilliseconds, octetDeltaCount and packetDeltaCount (bytes from the IP header on), layer2OctetDeltaCount (whole frames), initiator- and responderOctets (payload of the transport), tcpControlBits, flowEndReason, biflowDirection, vlanId, ingressInterface (the place of the interface in the order of the run, from 1) and flowId (EVE's `flow_id`). Start and counters of a record that `--active-timeout` made are those since the record before it, with flowEndReason 2; 1 is a time-out or an attempt that nobody answered, 3 an end by FIN, RST or refusal, 4 the end of the run, 5 an eviction. Statistics (`events=stats`) are options of the observation domain: ignoredPacketTotalCount (packets that the sensor missed), observedFlowTotalCount, exportedFlowRecordTotalCount and notSentFlowTotalCount of this output. Sequence numbers count records of options, too, as RFC 7011 says; nfcapd 1.7.1 does not, and reports a sequence error after each (`events=flow` leaves those of statistics out). That every packet is taken is an option, too (selectorAlgorithm, samplingPacketInterval 1, samplingPacketSpace 0). Attempts, folds, alerts, blocks and lifecycle events are not asked for: IANA has no elements for them, and an attempt is a packet of a flow, which sums would count twice.",
    ),
    Item(
        "NetFlow v9 (RFC 3954)",
        "Over UDP: one record for each direction of a flow that has packets, with the same values as far as it has fields. Times are absolute, in milliseconds (fields 152 and 153).",
    ),
    Item(
        "mtu=BYTES, template=SECONDS, pace=N, domain=N",
        "mtu=576 to 9216, default 1500: no message makes a packet larger than that, nor than the path takes, as far as routers have said (the message that was too large for them is lost). template=1 to 3600, default 60: templates and options go out so often over UDP; over TCP with each connection; and to a collector that was down, as the probe that finds it back. pace=1 to 1000000, default 5000: messages a second that `read` sends over UDP at most. domain=0 to 4294967295, default 1: observation domain, or source id.",
    ),
    Item(
        "syslog (RFC 5424)",
        "Facility `daemon`; severity `warning` for alerts, `notice` for unproven and ended ones, blocks and lifecycle events, `info` for all else. MSGID is the kind of record (`port_scan`, `new_connection`, `flow`, `block`); the members are structured data of `synledger@32473` (a number for examples: the program has none of its own), times in milliseconds; the message is the sentence of `text:`. Over TCP with octet counting (RFC 6587). A message has 8000 bytes at most. To a socket such as /dev/log the header is that of syslog(3), `<PRI>synledger[PID]: `, as rsyslogd and journald expect there, and structured data is the beginning of the message. A socket is opened by its name for each message: whoever makes it anew gets the next one.",
    ),
    Item(
        "CEF",
        "The same header without structured data, then `CEF:0|synledger|synledger|VERSION|KIND|TITLE|SEVERITY|` (7 for a warning, 4 for a notice, else 1) and an extension: src, dst, spt, dpt, proto, start, end, cnt, in, out, act, reason, and custom fields with their labels.",
    ),
    Item(
        "journald",
        "Entries by the journal's native protocol, at /run/systemd/journal/socket or the socket of `journald:unix:///PATH`: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=synledger, and each member as SYNLEDGER_NAME (`journalctl SYNLEDGER_EVENT=port_scan`), times in microseconds. journald drops bursts, by its RateLimitBurst=: after they were counted as written.",
    ),
];
