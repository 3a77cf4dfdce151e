//! Parts of loads: the sequence of frames of each shape of part.

use craft::Rng;

use super::shuffle::Shuffle;
use super::template::{Ends, Fields, Template};
use super::{Class, Frame, Kind};

/// Established connections of a bulk load. More than NAPI polls at a time (64), so that GRO never finds two segments of
/// one connection to merge: a frame sent is a frame received.
pub const FLOWS: u32 = 256;
/// Connections that are open at a time in `short`.
const CONCURRENT: u32 = 64;
/// Bytes of the request in a short connection.
pub const REQUEST_LEN: u32 = 54;
/// Bytes of the response in a short connection.
pub const RESPONSE_LEN: u32 = 1200;
/// Source addresses of `few`.
const FEW: u32 = 16;
/// Scanners of `scan`.
const SCANNERS: u32 = 64;

/// Destination of the IPv6 floods.
const TARGET_V6: u128 = 0x2001_0db8_ffff_0000_0000_0000_0000_0002;

/// Permutations derived from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Attempt number → initial sequence number.
    pub isn: Shuffle,
    /// Number → address.
    pub address: Shuffle,
    /// Number → port.
    pub port: Shuffle,
    /// Attempt number → the server's initial sequence number.
    server: Shuffle,
}

impl Keys {
    /// Keys drawn from `rng`.
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = || Shuffle(rng.next_u32());
        Self {
            isn: key(),
            address: key(),
            port: key(),
            server: key(),
        }
    }
}

/// How a part numbers its attempts among those of all parts.
#[derive(Clone, Copy, Debug)]
pub struct Numbering<'a> {
    /// Permutations of the load.
    pub keys: &'a Keys,
    /// Number of parts.
    pub parts: u32,
    /// Index of this part.
    pub part: u32,
}

impl Numbering<'_> {
    /// The number among the attempts of all parts.
    pub fn global(&self, local: u32) -> u32 {
        local.wrapping_mul(self.parts).wrapping_add(self.part)
    }

    fn isn(&self, local: u32) -> u32 {
        self.keys.isn.permute(self.global(local))
    }

    fn server_isn(&self, local: u32) -> u32 {
        self.keys.server.permute(self.global(local))
    }

    /// An address from 16.0.0.0 to 79.255.255.255: unicast, no special use.
    fn address(&self, number: u32) -> u32 {
        let hash = self.keys.address.permute(number);
        (16 << 24) + (hash & 0x3FFF_FFFF)
    }

    fn port(&self, number: u32) -> u16 {
        let [.., high, low] = self.keys.port.permute(number).to_be_bytes();
        u16::from_be_bytes([high, low]) | 0x8000
    }
}

/// A frame before it is written.
#[derive(Clone, Copy, Debug)]
pub struct FrameSpec {
    /// Index of its template.
    pub template: usize,
    /// Values written into the template.
    pub fields: Fields,
    /// Facts about it; attempts have their number in this part.
    pub frame: Frame,
}

/// How a part makes its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Single frames, each from a new address.
    Spoofed {
        /// Their class.
        class: Class,
        /// Their kind.
        kind: Kind,
    },
    /// SYNs from few addresses.
    Few,
    /// SYNs of scanners, each to a new port.
    Scan,
    /// Handshakes, then data without end.
    Bulk,
    /// Short connections from SYN to FIN.
    Short,
    /// A SYN, answered by a RST with ACK.
    Refused,
    /// A SYN in two fragments, a UDP datagram in three.
    Fragments,
    /// One template after the other.
    Malformed,
}

/// A part of a load.
#[derive(Clone, Debug)]
pub struct Part {
    /// Templates of its frames.
    pub templates: Vec<Template>,
    /// How it uses them.
    pub shape: Shape,
    /// IPv6.
    pub v6: bool,
    /// The server's IPv4 address.
    pub dst: u32,
    /// The server's port; scanners choose their own.
    pub dst_port: u16,
}

/// Frames of a short connection: SYN, SYN+ACK, ACK, request, response, FIN, FIN, ACK.
const SHORT_STEPS: u32 = 8;
/// Sequence space used by client and server before each frame of a short connection.
const SENT: [(u32, u32); SHORT_STEPS as usize] = {
    let (request, response) = (1 + REQUEST_LEN, 1 + RESPONSE_LEN);
    [
        (0, 0),
        (1, 0),
        (1, 1),
        (1, 1),
        (request, 1),
        (request, response),
        (request + 1, response),
        (request + 1, response + 1),
    ]
};

fn frame(class: Class, kind: Kind) -> Frame {
    Frame {
        class,
        kind,
        opens: None,
        connection: None,
    }
}

/// The low 32 bits of a frame's number. After 2^32 frames of a part its attempts repeat: at 1 M/s after 72 minutes.
fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("masked")
}

impl Part {
    /// Whether its connections are established and never end.
    pub fn is_bulk(&self) -> bool {
        self.shape == Shape::Bulk
    }

    /// Both ends of attempt `local`, client first.
    pub fn client(&self, local: u32, numbering: &Numbering<'_>) -> Ends {
        let number = numbering.global(local);
        let (address, port) = (numbering.address(number), numbering.port(number));
        let dst = self.dst;
        match self.shape {
            Shape::Few => {
                let [.., high, low] = (local / FEW).to_be_bytes();
                let port = u16::from_be_bytes([high, low]);
                Ends::v4(0xC633_6401 + local % FEW, port, dst, self.dst_port)
            }
            Shape::Scan => {
                let [.., high, low] = (local / SCANNERS + 1).to_be_bytes();
                let port = u16::from_be_bytes([high, low]);
                Ends::v4(0xCB00_7101 + local % SCANNERS, 40000, dst, port)
            }
            Shape::Bulk => {
                let [.., high, low] = (10_000 + local).to_be_bytes();
                let port = u16::from_be_bytes([high, low]);
                Ends::v4(0xAC10_0001 + local, port, dst, self.dst_port)
            }
            _ if self.v6 => Ends {
                v6: true,
                src: (0x2001_0db8 << 96) | (u128::from(address) << 64) | u128::from(number),
                dst: TARGET_V6,
                src_port: port,
                dst_port: self.dst_port,
            },
            _ => Ends::v4(address, port, dst, self.dst_port),
        }
    }

    /// Frame `index` of this part.
    pub fn step(&self, index: u64, numbering: &Numbering<'_>) -> FrameSpec {
        let number = low(index);
        match self.shape {
            Shape::Spoofed { class, kind } => self.single(number, class, kind, numbering),
            Shape::Few | Shape::Scan => self.single(number, Class::Open, Kind::Syn, numbering),
            Shape::Bulk => self.bulk_step(index, numbering),
            Shape::Short => self.short_step(index, numbering),
            Shape::Refused => self.refused_step(index, numbering),
            Shape::Fragments => self.fragment_step(index, numbering),
            Shape::Malformed => {
                let template = usize::try_from(number).expect("32 bits") % self.templates.len();
                let fields = Fields {
                    ends: self.client(number, numbering),
                    ..Fields::default()
                };
                FrameSpec {
                    template,
                    fields,
                    frame: frame(Class::Unreadable, Kind::Malformed),
                }
            }
        }
    }

    fn single(
        &self,
        number: u32,
        class: Class,
        kind: Kind,
        numbering: &Numbering<'_>,
    ) -> FrameSpec {
        let opens = kind == Kind::Syn;
        let isn = numbering.isn(number);
        let fields = Fields {
            ends: self.client(number, numbering),
            seq: isn,
            ack: if opens { 0 } else { isn },
            id: 0,
        };
        let mut frame = frame(class, kind);
        if opens {
            (frame.opens, frame.connection) = (Some(number), Some((number, true)));
        }
        FrameSpec {
            template: 0,
            fields,
            frame,
        }
    }

    /// Fields of a segment of attempt `local`'s connection, after `sent` bytes of client and server.
    fn segment(
        &self,
        local: u32,
        sent: (u32, u32),
        from_client: bool,
        numbering: &Numbering<'_>,
    ) -> Fields {
        let ends = self.client(local, numbering);
        let client = numbering.isn(local).wrapping_add(sent.0);
        let server = numbering.server_isn(local).wrapping_add(sent.1);
        let (ends, seq, ack) = if from_client {
            (ends, client, server)
        } else {
            (ends.reversed(), server, client)
        };
        Fields {
            ends,
            seq,
            ack,
            id: 0,
        }
    }

    fn bulk_step(&self, index: u64, numbering: &Numbering<'_>) -> FrameSpec {
        let (turn, local) = (index / u64::from(FLOWS), low(index % u64::from(FLOWS)));
        let (template, frame, sent, from_client) = match turn {
            0 => (0, frame(Class::Open, Kind::Syn), (0, 0), true),
            1 => (1, frame(Class::Control, Kind::SynAck), (1, 0), false),
            2 => (2, frame(Class::Data, Kind::Ack), (1, 1), true),
            _ => {
                let len = u64::try_from(self.templates[3].frame_len() - 54).expect("short");
                // Sequence numbers wrap at 2^32.
                let sent = (low(1 + (turn - 3) * len), 1);
                (3, frame(Class::Data, Kind::Data), sent, true)
            }
        };
        let mut fields = self.segment(local, sent, from_client, numbering);
        if turn == 0 {
            fields.ack = 0;
        }
        let opens = (turn == 0).then_some(local);
        FrameSpec {
            template,
            fields,
            frame: Frame {
                opens,
                connection: Some((local, from_client)),
                ..frame
            },
        }
    }

    fn short_step(&self, index: u64, numbering: &Numbering<'_>) -> FrameSpec {
        let many = u64::from(SHORT_STEPS * CONCURRENT);
        let (group, within) = (low(index / many), low(index % many));
        let (step, local) = (
            within / CONCURRENT,
            group * CONCURRENT + within % CONCURRENT,
        );
        let (template, frame, from_client) = match step {
            0 => (0, frame(Class::Open, Kind::Syn), true),
            1 => (1, frame(Class::Control, Kind::SynAck), false),
            2 => (2, frame(Class::Data, Kind::Ack), true),
            3 => (3, frame(Class::Data, Kind::Data), true),
            4 => (4, frame(Class::Data, Kind::Data), false),
            5 => (5, frame(Class::Control, Kind::Fin), true),
            6 => (5, frame(Class::Control, Kind::Fin), false),
            _ => (2, frame(Class::Data, Kind::Ack), true),
        };
        let sent = SENT[usize::try_from(step).expect("below 8")];
        let mut fields = self.segment(local, sent, from_client, numbering);
        if step == 0 {
            fields.ack = 0;
        }
        FrameSpec {
            template,
            fields,
            frame: Frame {
                opens: (step == 0).then_some(local),
                connection: Some((local, from_client)),
                ..frame
            },
        }
    }

    fn refused_step(&self, index: u64, numbering: &Numbering<'_>) -> FrameSpec {
        let (local, answer) = (low(index / 2), index % 2 == 1);
        let mut fields = self.segment(local, (u32::from(answer), 0), !answer, numbering);
        let frame = if answer {
            // A RST to a SYN has sequence number 0 (RFC 9293, 3.5.2).
            fields.seq = 0;
            frame(Class::Control, Kind::Rst)
        } else {
            fields.ack = 0;
            frame(Class::Open, Kind::Syn)
        };
        FrameSpec {
            template: usize::from(answer),
            fields,
            frame: Frame {
                opens: (!answer).then_some(local),
                connection: Some((local, !answer)),
                ..frame
            },
        }
    }

    fn fragment_step(&self, index: u64, numbering: &Numbering<'_>) -> FrameSpec {
        let cycle = self.templates.len() as u64;
        let local = low(index / cycle);
        let template = usize::try_from(index % cycle).expect("below 5");
        let [.., high, low] = local.to_be_bytes();
        let fields = Fields {
            ends: self.client(local, numbering),
            seq: numbering.isn(local),
            ack: 0,
            id: u16::from_be_bytes([high, low]),
        };
        let frame = match template {
            0 => Frame {
                opens: Some(local),
                connection: Some((local, true)),
                ..frame(Class::Open, Kind::Syn)
            },
            _ => frame(Class::Data, Kind::Fragment),
        };
        FrameSpec {
            template,
            fields,
            frame,
        }
    }
}
