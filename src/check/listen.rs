//! Listens on interfaces for a short time, for the VLAN tags of TCP and ARP. Sends nothing; no interface becomes
//! promiscuous.

use super::facts::{CAP_NET_RAW, Facts};
use super::tags::{Heard, Stack};
use crate::capture::frame::{Frame, LinkType};
use crate::capture::ring::block::Origin;
use crate::capture::ring::{Reader, RingGeometry};
use crate::capture::socket::{Filter, RxSocket, accept};
use crate::decode;
use crate::error::SetupError;
use crate::host::nic::{self, Interface};
use crate::time::clock::monotonic_ns;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

/// Bytes kept of a frame: link header, two tags, IPv6 or IPv4 with all options, TCP up to its flags.
const SNAPLEN: u32 = 128;
/// A ring of 256 KiB: some 1,000 frames.
const GEOMETRY: RingGeometry = RingGeometry {
    block_size: 16 << 10,
    block_nr: 16,
    block_timeout_ms: 20,
};
/// Frames read of all interfaces: on a busy link they are heard in less than the time.
const FRAMES_MAX: usize = 1 << 20;
/// Frames of one ring before the next has its turn.
const TURN_FRAMES: usize = 1_024;
/// Sleep while nothing comes.
const PAUSE: Duration = Duration::from_millis(5);

/// An interface that is listened to.
struct Ear {
    reader: Reader,
    /// Keeps the ring filled.
    _socket: RxSocket,
    heard: Heard,
}

/// Listens on the interfaces that may carry tags: Ethernet that is up. Without CAP_NET_RAW on none.
pub fn listen(facts: &Facts, time: Duration) -> Vec<(String, Result<Heard, String>)> {
    if time.is_zero() || !facts.can(CAP_NET_RAW) {
        return Vec::new();
    }
    let nics = facts.interfaces.iter().flatten().map(|(nic, _)| nic);
    let opened = nics
        .filter(|nic| may_carry_tags(nic))
        .map(|nic| (nic.name.clone(), open(nic)));
    let mut ears: Vec<(String, Result<Ear, SetupError>)> = opened.collect();
    let before = nic::list().unwrap_or_default();
    hear(
        ears.iter_mut().filter_map(|(_, ear)| ear.as_mut().ok()),
        time,
    );
    let after = nic::list().unwrap_or_default();
    let received = |all: &[Interface], name: &str| {
        let own = all.iter().find(|nic| nic.name == name);
        own.map_or(0, |nic| nic.counters.rx_packets)
    };
    let heard = |(name, ear): (String, Result<Ear, SetupError>)| {
        let counted = received(&after, &name).saturating_sub(received(&before, &name));
        let heard = ear.map(|ear| ear.heard.with_counted(counted));
        (name, heard.map_err(|error| error.to_string()))
    };
    ears.into_iter().map(heard).collect()
}

fn may_carry_tags(nic: &Interface) -> bool {
    nic.link == Some(LinkType::Ethernet) && !nic.loopback && nic.up && nic.running
}

fn open(nic: &Interface) -> Result<Ear, SetupError> {
    let origin = Origin {
        interface: 0,
        link: LinkType::Ethernet,
        loopback: false,
    };
    let (socket, ring) = RxSocket::open(&nic.name, GEOMETRY, origin)?;
    socket.bind(nic.ifindex)?;
    socket.attach(Filter::Classic(&accept(SNAPLEN)))?;
    Ok(Ear {
        reader: Reader::new(ring),
        _socket: socket,
        heard: Heard::default(),
    })
}

fn hear<'a>(ears: impl Iterator<Item = &'a mut Ear>, time: Duration) {
    let mut ears: Vec<&mut Ear> = ears.collect();
    let time_ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let end_ns = monotonic_ns().saturating_add(time_ns);
    let mut left = FRAMES_MAX;
    while !ears.is_empty() && left > 0 && monotonic_ns() < end_ns {
        let before = left;
        for ear in &mut ears {
            for _ in 0..TURN_FRAMES.min(left) {
                if !ear.reader.refill() {
                    break;
                }
                let frame = ear.reader.frame().expect("refilled");
                on_frame(&mut ear.heard, &frame);
                ear.reader.advance();
                left -= 1;
            }
        }
        if left == before {
            thread::sleep(PAUSE);
        }
    }
}

fn on_frame(heard: &mut Heard, frame: &Frame<'_>) {
    heard.frames += 1;
    if let Ok(packet) = decode::packet(frame) {
        heard.on_packet(&packet);
    } else if let Some((stack, sender, hardware)) = arp_sender(frame) {
        heard.on_arp(stack, sender, hardware);
    }
}

/// Tags, address and hardware address of the sender of an ARP packet for IPv4 on Ethernet (RFC 826).
fn arp_sender(frame: &Frame<'_>) -> Option<(Stack, Ipv4Addr, [u8; 6])> {
    let mut stack = Stack::default();
    if let Some(tag) = frame.vlan {
        stack.push(tag.tci);
    }
    let mut rest = frame.bytes.get(12..)?;
    while let [0x81 | 0x91, 0, high, low, inner @ ..] | [0x88, 0xa8, high, low, inner @ ..] = rest {
        stack.push(u16::from_be_bytes([*high, *low]));
        rest = inner;
    }
    // EtherType, kinds and lengths of the addresses; then the operation.
    let after = rest.strip_prefix(&[8, 6, 0, 1, 8, 0, 6, 4])?.get(2..)?;
    let (hardware, after) = after.split_first_chunk()?;
    let address: &[u8; 4] = after.first_chunk()?;
    Some((stack, Ipv4Addr::from(*address), *hardware))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::VlanTag;
    use crate::check::tests::interface;

    #[test]
    fn interfaces_that_cannot_show_a_tag_are_not_listened_to() {
        let with = |change: fn(&mut Interface)| {
            let mut nic = interface();
            change(&mut nic);
            may_carry_tags(&nic)
        };
        assert!(with(|_| ()));
        assert!(!with(|nic| nic.up = false));
        assert!(!with(|nic| nic.running = false));
        assert!(!with(|nic| nic.loopback = true));
        assert!(!with(|nic| nic.link = Some(LinkType::RawIp)));
    }

    #[test]
    fn the_sender_of_an_arp_packet_is_read_behind_every_kind_of_tag() {
        let packet = [
            8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 10, 0,
            0, 9,
        ];
        let stack = |tags: &[u16]| {
            let mut stack = Stack::default();
            tags.iter().for_each(|tag| stack.push(*tag));
            stack
        };
        for (removed, inline, tags) in [
            (None, &[][..], &[][..]),
            (None, &[0x81, 0, 0x20, 7], &[7]),
            (Some(10), &[], &[10]),
            (Some(10), &[0x88, 0xa8, 0, 11], &[10, 11]),
            (Some(10), &[0x91, 0, 0, 11, 0x81, 0, 0, 12], &[10, 11]),
        ] {
            let bytes = [&[0; 12], inline, &packet].concat();
            let mut frame = Frame {
                bytes: &bytes,
                wire_len: 60,
                ts_ns: 0,
                interface: 0,
                link: LinkType::Ethernet,
                vlan: removed.map(|tci| VlanTag { tpid: 0x8100, tci }),
                gso: false,
                incoming: false,
            };
            let expected = (stack(tags), Ipv4Addr::new(10, 0, 0, 5), [2, 0, 0, 0, 0, 7]);
            assert_eq!(arp_sender(&frame), Some(expected), "{tags:?}");
            // Cut before the address ends.
            frame.bytes = &bytes[..bytes.len() - 11];
            assert_eq!(arp_sender(&frame), None, "{tags:?}");
        }
    }
}
