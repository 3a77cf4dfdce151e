//! What segments and datagrams carry: right in the first bytes, filler behind.

use crate::rng::Rng;

/// `len` random bytes.
pub(super) fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend(rng.next_u64().to_be_bytes());
    }
    out.truncate(len);
    out
}

/// A TLS record of application data with `len` bytes, its header of 5 bytes not counted.
pub(super) fn tls(rng: &mut Rng, len: u16) -> Vec<u8> {
    tls_record(rng, 23, len)
}

/// A TLS record with handshake messages, such as a `ClientHello`.
pub(super) fn tls_hello(rng: &mut Rng, len: u16) -> Vec<u8> {
    tls_record(rng, 22, len)
}

fn tls_record(rng: &mut Rng, kind: u8, len: u16) -> Vec<u8> {
    let mut out = vec![kind, 3, 3];
    out.extend(len.to_be_bytes());
    out.extend(noise(rng, len.into()));
    out
}

/// An HTTP request of a path.
pub(super) fn http_get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example.net\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// An HTTP answer with `len` bytes of text.
pub(super) fn http_answer(status: &str, len: usize) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n").into_bytes();
    out.resize(out.len() + len, b'x');
    out
}

/// A DNS question for an address (`kind` 1 or 28) or a service (33).
pub(super) fn dns_question(id: u16, kind: u8, label: u64) -> Vec<u8> {
    dns(id, [1, 0], 0, kind, label)
}

/// The DNS answer to [`dns_question`], with `answers` addresses of IPv4.
pub(super) fn dns_answer(id: u16, kind: u8, label: u64, answers: u8) -> Vec<u8> {
    let mut out = dns(id, [0x81, 0x80], answers, kind, label);
    for last in 0..answers {
        out.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 203, 0, 113, last]);
    }
    out
}

/// A DNS answer that says: ask by TCP.
pub(super) fn dns_truncated(id: u16, kind: u8, label: u64) -> Vec<u8> {
    dns(id, [0x83, 0x80], 0, kind, label)
}

fn dns(id: u16, flags: [u8; 2], answers: u8, kind: u8, label: u64) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend(flags);
    out.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    let name = format!("h{label:07}");
    for part in [name.as_bytes(), b"example", b"net"] {
        out.push(u8::try_from(part.len()).expect("a label is short"));
        out.extend(part);
    }
    out.extend([0, 0, kind, 0, 1]);
    out
}

/// A DNS message as TCP carries it: behind its length.
pub(super) fn dns_tcp(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("a message is short");
    [&len.to_be_bytes(), message].concat()
}

/// A STUN binding request, or the success response with the same transaction.
pub(super) fn stun(transaction: u64, response: bool) -> Vec<u8> {
    let kind: [u8; 2] = if response { [1, 1] } else { [0, 1] };
    let mut out = kind.to_vec();
    out.extend([0, 8, 0x21, 0x12, 0xA4, 0x42]);
    out.extend(transaction.to_be_bytes());
    out.extend([0; 4]);
    out.extend([0, 0x24, 0, 4, 0x6E, 0, 1, 0xFF]); // PRIORITY
    out
}

/// An RTP packet of 20 ms of G.711, or with `quiet` one of comfort noise.
pub(super) fn rtp(rng: &mut Rng, sequence: u16, stream: u32, quiet: bool) -> Vec<u8> {
    let mut out = vec![0x80, if quiet { 13 } else { 8 }];
    out.extend(sequence.to_be_bytes());
    out.extend((u32::from(sequence) * 160).to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend(noise(rng, if quiet { 1 } else { 160 }));
    out
}

/// An RTCP receiver report without blocks.
pub(super) fn rtcp(stream: u32) -> Vec<u8> {
    let mut out = vec![0x80, 201, 0, 1];
    out.extend(stream.to_be_bytes());
    out
}

/// An NTP packet of a client (3) or a server (4).
pub(super) fn ntp(rng: &mut Rng, mode: u8) -> Vec<u8> {
    let mut out = vec![0x20 | mode, 2, 6, 0xE9];
    out.extend(noise(rng, 44));
    out
}

/// An SNMP version 2c question for one value, or the answer with a text of 60 bytes.
pub(super) fn snmp(rng: &mut Rng, answer: bool) -> Vec<u8> {
    let value = if answer {
        ber(4, &[b'x'; 60])
    } else {
        ber(5, &[])
    };
    let name = ber(6, &[0x2B, 6, 1, 2, 1, 1, 1, 0]);
    let bindings = ber(0x30, &ber(0x30, &[name, value].concat()));
    let id = ber(2, &(rng.next_u32() >> 1).to_be_bytes());
    let zero = ber(2, &[0]);
    let kind = if answer { 0xA2 } else { 0xA0 };
    let pdu = ber(kind, &[id, zero.clone(), zero, bindings].concat());
    ber(0x30, &[ber(2, &[1]), ber(4, b"public"), pdu].concat())
}

/// A BER element of at most 127 bytes.
fn ber(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u8::try_from(content.len()).expect("short");
    assert!(len < 128, "{len} bytes need a long length");
    [&[tag, len], content].concat()
}

/// A QUIC Initial packet: 1200 bytes with a version, or with `short` a later one.
pub(super) fn quic(rng: &mut Rng, short: bool) -> Vec<u8> {
    let mut out = if short {
        vec![0x40 | (rng.next_u8() & 0x3F)]
    } else {
        vec![0xC3, 0, 0, 0, 1, 8]
    };
    let len = if short { 120 } else { 1200 - out.len() };
    out.extend(noise(rng, len));
    out
}

/// A DHT message of BitTorrent: a `ping`, or its answer.
pub(super) fn dht(rng: &mut Rng, answer: bool) -> Vec<u8> {
    let (head, tail): (&[u8], &[u8]) = if answer {
        (b"d1:rd2:id20:", b"e1:t2:aa1:y1:re")
    } else {
        (b"d1:ad2:id20:", b"e1:q4:ping1:t2:aa1:y1:qe")
    };
    [head, &noise(rng, 20), tail].concat()
}

/// A BitTorrent handshake: 68 bytes.
pub(super) fn bittorrent(rng: &mut Rng) -> Vec<u8> {
    let mut out = b"\x13BitTorrent protocol".to_vec();
    out.extend([0; 8]);
    out.extend(noise(rng, 40));
    out
}
