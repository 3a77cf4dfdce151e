//! The parts of each load, and the frames of each part.

use craft::{ACK, FIN, Flow, Ip, Link, PSH, RST, SYN, Tcp, Udp};
use std::net::Ipv4Addr;

use super::parts::{Part, REQUEST_LEN, RESPONSE_LEN, Shape};
use super::template::Template;
use super::{Class, Kind, Name};

/// Destination of the floods.
const TARGET: u32 = 0x0A00_0102;
/// Server of the established connections.
const SERVER: u32 = 0x0A00_0103;

/// MSS 1460.
const SYN_OPTIONS: [u8; 4] = [2, 4, 5, 0xB4];
const REQUEST: &[u8; REQUEST_LEN as usize] =
    b"GET / HTTP/1.1\r\nHost: www.example.net\r\nAccept: */*\r\n\r\n";

/// The parts of a load, and the number of frames of each in a round.
pub fn parts(name: Name) -> Vec<(Part, usize)> {
    let one = |part| vec![(part, 1)];
    match name {
        Name::Syn => one(syn(false)),
        Name::Syn6 => one(syn(true)),
        Name::Few => one(part(Shape::Few, vec![syn_template(false)], TARGET, 80)),
        Name::Bulk64 => one(bulk(64)),
        Name::Bulk1500 => one(bulk(1514)),
        Name::Short => one(short(false)),
        Name::Mix => vec![
            (short(false), 16),
            (short(true), 4),
            (bulk(64), 10),
            (bulk(576), 8),
            (bulk(1514), 16),
            (refused(), 2),
            (udp(), 6),
            (fragments(), 2),
        ],
        Name::Fragments => one(fragments()),
        Name::Malformed => one(malformed()),
        Name::Scan => vec![
            (syn(false), 4095),
            (part(Shape::Scan, vec![syn_template(false)], TARGET, 0), 1),
        ],
        Name::Rst => one(spoofed(Class::Control, Kind::Rst, RST)),
        Name::Ack => one(spoofed(Class::Data, Kind::Ack, ACK)),
        Name::Udp => one(udp()),
        Name::Busy => vec![(bulk(1514), 126), (refused(), 2)],
        Name::Storm => vec![(syn(false), 15), (bulk(64), 1)],
    }
}

fn part(shape: Shape, templates: Vec<Template>, dst: u32, dst_port: u16) -> Part {
    Part {
        templates,
        shape,
        v6: false,
        dst,
        dst_port,
    }
}

fn syn_template(v6: bool) -> Template {
    Template::tcp(v6, SYN, &SYN_OPTIONS, b"")
}

fn syn(v6: bool) -> Part {
    let shape = Shape::Spoofed {
        class: Class::Open,
        kind: Kind::Syn,
    };
    Part {
        v6,
        ..part(shape, vec![syn_template(v6)], TARGET, 80)
    }
}

fn spoofed(class: Class, kind: Kind, flags: u8) -> Part {
    let template = Template::tcp(false, flags, &[], b"");
    part(Shape::Spoofed { class, kind }, vec![template], TARGET, 80)
}

fn udp() -> Part {
    let shape = Shape::Spoofed {
        class: Class::Data,
        kind: Kind::Udp,
    };
    part(shape, vec![Template::udp(false, &[0x5A; 32])], TARGET, 53)
}

/// Templates: three frames of a handshake, then data.
fn bulk(frame_len: usize) -> Part {
    let data = vec![0x64; frame_len - 54];
    let templates = vec![
        syn_template(false),
        Template::tcp(false, SYN | ACK, &SYN_OPTIONS, b""),
        Template::tcp(false, ACK, &[], b""),
        Template::tcp(false, ACK, &[], &data),
    ];
    let port = u16::try_from(8000 + frame_len).expect("a short frame");
    part(Shape::Bulk, templates, SERVER, port)
}

fn short(v6: bool) -> Part {
    let templates = vec![
        syn_template(v6),
        Template::tcp(v6, SYN | ACK, &SYN_OPTIONS, b""),
        Template::tcp(v6, ACK, &[], b""),
        Template::tcp(v6, PSH | ACK, &[], REQUEST),
        Template::tcp(v6, PSH | ACK, &[], &[0x68; RESPONSE_LEN as usize]),
        Template::tcp(v6, FIN | ACK, &[], b""),
    ];
    Part {
        v6,
        ..part(Shape::Short, templates, SERVER, 443)
    }
}

fn refused() -> Part {
    let templates = vec![
        syn_template(false),
        Template::tcp(false, RST | ACK, &[], b""),
    ];
    part(Shape::Refused, templates, SERVER, 8443)
}

fn fragments() -> Part {
    let flow = Flow::v4([0; 4], 0, [0; 4], 0);
    let syn = Tcp::new(flow, SYN, 0).data(&[0x66; 20]).bytes();
    let datagram = Udp::new(flow, &[0x67; 1432]).bytes();
    let templates = vec![
        Template::fragment(true, &syn, 0, 24),
        Template::fragment(true, &syn, 24, 40),
        Template::fragment(false, &datagram, 0, 480),
        Template::fragment(false, &datagram, 480, 960),
        Template::fragment(false, &datagram, 960, 1440),
    ];
    part(Shape::Fragments, templates, TARGET, 8080)
}

/// One frame for each kind of malformed frame. The kernel's filter puts each into the class of data: none has SYN flags
/// where that filter reads them.
fn malformed() -> Part {
    let ends = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into());
    let packet = |proto, payload: &[u8]| Ip::new(ends.0, ends.1, proto).bytes(payload);
    let segment = Tcp::new(Flow::v4([0; 4], 0, [0; 4], 0), ACK, 0);
    let spoiled = |at: usize, value: u8| {
        let mut bytes = packet(6, &segment.bytes());
        bytes[at] = value;
        Template::addressed(&bytes)
    };
    let mut other_type = Link::ethernet().frame(&[0; 46]);
    other_type[12..14].copy_from_slice(&[0x88, 0xB5]);
    let short_offset = Tcp {
        data_offset: Some(4),
        ..segment.clone()
    };
    let templates = vec![
        Template::fixed(&other_type),
        Template::fixed(&Link::ethernet().frame(&packet(6, b"")[..10])),
        spoiled(0, 0x55),
        spoiled(0, 0x44),
        spoiled(3, 10),
        Template::addressed(&packet(6, &[0; 8])),
        Template::addressed(&packet(6, &short_offset.bytes())),
        Template::addressed(&packet(17, &[0, 1, 0, 2, 0, 3, 0, 0])),
        Template::addressed(&packet(17, &[0; 4])),
        Template::addressed(&packet(1, &[8, 0, 0, 0])),
    ];
    part(Shape::Malformed, templates, TARGET, 0)
}
