//! Rings, gates and groups against the real kernel, on a veth pair in a namespace of its own.

mod common;

use common::netns::{SENSOR, Veth, ip, wait_for_link, with_veth};
use libc::sock_filter;
use packet::TxSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use synledger::capture::frame::{LinkType, VlanTag};
use synledger::capture::group::{Fanout, Group, GroupConfig};
use synledger::capture::ring::block::Origin;
use synledger::capture::ring::poll::Poller;
use synledger::capture::ring::{Reader, RingGeometry};
use synledger::capture::socket::{Filter, accept};

const GEOMETRY: RingGeometry = RingGeometry {
    block_size: 8192,
    block_nr: 4,
    block_timeout_ms: 10,
};
const ROOMY: RingGeometry = RingGeometry {
    block_size: 1 << 16,
    block_nr: 64,
    block_timeout_ms: 10,
};
const EVERYTHING: [sock_filter; 1] = accept(1 << 18);
/// An ethertype for experiments: no stack answers it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// A group and its readers; its gate is closed at first.
struct Tap {
    group: Group,
    readers: Vec<Reader>,
    poller: Poller,
    packets: u64,
    drops: u64,
}

/// A frame as the tests compare it.
#[derive(Debug, PartialEq)]
struct Seen {
    member: usize,
    number: u32,
    caplen: usize,
    wire_len: u32,
    ts_ns: i64,
    vlan: Option<VlanTag>,
}

fn config(ifindex: u32, members: usize, geometry: RingGeometry) -> GroupConfig<'static> {
    GroupConfig {
        ifindex,
        name: SENSOR,
        members: vec![geometry; members],
        fanout: Fanout::Hash,
        ignore_outgoing: false,
        promiscuous: true,
        origin: Origin {
            interface: 0,
            link: LinkType::Ethernet,
            loopback: false,
        },
    }
}

impl Tap {
    fn new(config: &GroupConfig<'_>) -> Self {
        let (group, rings) = Group::open(config, |_| ()).expect("a group opens");
        Self {
            group,
            readers: rings.into_iter().map(Reader::new).collect(),
            poller: Poller::with_capacity(config.members.len()),
            packets: 0,
            drops: 0,
        }
    }

    fn wait(&mut self, timeout: Duration) -> usize {
        let sockets = self.group.sockets().iter().map(Some);
        self.poller.wait(sockets, timeout).expect("poll")
    }

    fn open(&self) {
        let opened = self.group.open_gate(|_| Filter::Classic(&EVERYTHING));
        opened.expect("the gate opens");
    }

    /// Reads all frames, in the order of time, until none came for a while.
    fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            for reader in &mut self.readers {
                reader.refill();
            }
            let ready = self.readers.iter_mut().enumerate();
            let ready = ready.filter(|(_, reader)| reader.ts_ns().is_some());
            if let Some((member, reader)) = ready.min_by_key(|(_, reader)| reader.ts_ns()) {
                let frame = reader.frame().expect("it has a stamp");
                let number = frame.bytes[14..18].try_into().expect("4 bytes");
                seen.push(Seen {
                    member,
                    number: u32::from_be_bytes(number),
                    caplen: frame.bytes.len(),
                    wire_len: frame.wire_len,
                    ts_ns: frame.ts_ns,
                    vlan: frame.vlan,
                });
                reader.advance();
                continue;
            }
            let wait = Duration::from_millis(100);
            if self.wait(wait) == 0 {
                return seen;
            }
        }
    }

    /// Closes the gate, reads the rest, and asserts that frames read, unread and dropped are those that the kernel counted.
    /// Returns the frames read here, and the drops.
    fn close_and_balance(mut self) -> (Vec<Seen>, u64) {
        self.group.close_gate().expect("the gate closes");
        let seen = self.drain();
        for socket in self.group.sockets() {
            let statistics = socket.statistics().expect("statistics");
            self.packets += u64::from(statistics.tp_packets);
            self.drops += u64::from(statistics.tp_drops);
        }
        let passed = |reader: &Reader| reader.counts().frames_read + reader.counts().frames_unread;
        let read: u64 = self.readers.iter().map(passed).sum();
        assert_eq!(read + self.drops, self.packets, "read + drops = tp_packets");
        (seen, self.drops)
    }
}

struct Sender(TxSocket);

impl Sender {
    fn new(veth: Veth) -> Self {
        Self(TxSocket::open(veth.sender).expect("a sender opens"))
    }

    fn send(&self, number: u32, length: usize) {
        self.0
            .send(&frame(number, length))
            .expect("a frame is sent");
    }
}

fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[..6].fill(0xff);
    bytes[6] = 2;
    bytes[12..14].copy_from_slice(&ETHERTYPE);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn numbers(seen: &[Seen]) -> Vec<u32> {
    seen.iter().map(|frame| frame.number).collect()
}

#[test]
fn a_frame_too_big_for_a_block_is_cut_and_the_block_before_it_is_empty() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, GEOMETRY));
        tap.open();
        let sender = Sender::new(veth);
        sender.send(0, 8942);
        sender.send(1, 60);
        let seen = tap.drain();
        assert_eq!(numbers(&seen), [0, 1]);
        assert_eq!((seen[0].caplen, seen[0].wire_len), (8062, 8942));
        assert_eq!((seen[1].caplen, seen[1].wire_len), (60, 60));
        assert!(
            tap.readers[0].counts().blocks_empty >= 1,
            "{:?}",
            tap.readers[0].counts()
        );
        tap.close_and_balance();
    });
}

#[test]
fn a_filter_cuts_frames_and_wire_len_stays() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, ROOMY));
        let opened = tap
            .group
            .open_gate(|_| Filter::Classic(const { &accept(96) }));
        opened.expect("the gate opens");
        let sender = Sender::new(veth);
        for (number, length) in [(0, 60), (1, 96), (2, 97), (3, 1514)] {
            sender.send(number, length);
        }
        let lengths: Vec<_> = tap.drain().iter().map(|f| (f.caplen, f.wire_len)).collect();
        assert_eq!(lengths, [(60, 60), (96, 96), (96, 97), (96, 1514)]);
        tap.close_and_balance();
    });
}

#[test]
fn a_trickle_goes_many_times_round_the_ring() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, GEOMETRY));
        tap.open();
        let sender = Sender::new(veth);
        let mut seen = Vec::new();
        for number in 0..40 {
            sender.send(number, 60);
            let wait = Duration::from_secs(5);
            let ready = tap.wait(wait);
            assert_eq!(ready, 1);
            assert!(tap.readers[0].refill());
            seen.push(tap.readers[0].ts_ns().expect("a frame"));
            tap.readers[0].advance();
        }
        assert!(seen.is_sorted());
        let counts = tap.readers[0].counts();
        assert_eq!((counts.frames_read, counts.blocks), (40, 40));
        assert_eq!(counts.blocks_timed_out, 40);
        assert_eq!(tap.readers[0].last_ts_ns(), seen.last().copied());
        assert_eq!(tap.close_and_balance().1, 0);
    });
}

#[test]
fn a_ring_that_overflows_counts_every_frame_it_drops() {
    with_veth(|veth| {
        // No block is handed over half-filled, even on a busy machine; shorter than `drain` waits.
        let geometry = RingGeometry {
            block_timeout_ms: 80,
            ..GEOMETRY
        };
        let mut tap = Tap::new(&config(veth.sensor, 1, geometry));
        tap.open();
        let sender = Sender::new(veth);
        for number in 0..500 {
            sender.send(number, 1000);
        }
        thread::sleep(Duration::from_millis(50));
        let waiting = tap.readers[0].waiting();
        let bytes = u64::from(GEOMETRY.block_nr * GEOMETRY.block_size);
        assert_eq!((waiting.blocks, waiting.bytes), (GEOMETRY.block_nr, bytes));
        let stored = numbers(&tap.drain());
        assert_eq!(stored, (0..28).collect::<Vec<_>>(), "7 in each of 4 blocks");
        sender.send(1000, 60);
        let late = tap.drain();
        assert_eq!(numbers(&late), [1000]);
        assert_eq!(tap.close_and_balance().1, 500 - 28);
    });
}

#[test]
fn the_books_balance_after_a_flood_that_the_rings_cannot_hold() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 2, GEOMETRY));
        tap.open();
        let flood = thread::spawn(move || {
            let sender = Sender::new(veth);
            (0..50_000).for_each(|number| sender.send(number, 60 + number as usize % 900));
        });
        thread::sleep(Duration::from_millis(20));
        let mut seen = tap.drain();
        flood.join().expect("the flood ends");
        seen.extend(tap.drain());
        assert!(
            seen.is_sorted_by_key(|frame| frame.number),
            "one flow, one ring"
        );
        let (read, drops) = (seen.len() as u64, tap.close_and_balance().1);
        assert!(drops > 0, "the reader was too late to lose nothing");
        assert_eq!(read + drops, 50_000);
    });
}

#[test]
fn a_closed_gate_lets_nothing_in_and_an_open_one_loses_nothing() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 3, ROOMY));
        let stop = Arc::new(AtomicBool::new(false));
        let sending = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let sender = Sender::new(veth);
            let (mut number, begin) = (0, Instant::now());
            while !sending.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(20) {
                sender.send(number, 60);
                number += 1;
                if number % 64 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            number
        });
        thread::sleep(Duration::from_millis(100));
        assert_eq!(tap.drain(), [], "gated");
        tap.open();
        thread::sleep(Duration::from_millis(100));
        tap.group.close_gate().expect("the gate closes");
        thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender ends");
        let mut seen = numbers(&tap.drain());
        let (first, last) = (seen[0], seen[seen.len() - 1]);
        seen.sort_unstable();
        assert_eq!(seen, (first..=last).collect::<Vec<_>>(), "no gap");
        assert!(first > 0 && last < sent - 1, "{first}..={last} of {sent}");
        assert_eq!(tap.close_and_balance().1, 0);
    });
}

#[test]
fn a_fanout_program_picks_the_member_and_three_rings_merge_by_time() {
    with_veth(|veth| {
        // The last byte of a frame's number, after the link header, is the member.
        let load = |k| sock_filter {
            code: 0x30,
            jt: 0,
            jf: 0,
            k,
        };
        let return_a = sock_filter {
            code: 0x16,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let program = [load(0xfff0_0000 + 3), return_a];
        let mut tap = Tap::new(&GroupConfig {
            fanout: Fanout::Cbpf(&program),
            ..config(veth.sensor, 3, ROOMY)
        });
        tap.open();
        let sender = Sender::new(veth);
        for number in 0..252 {
            sender.send(number, 60 + number as usize);
        }
        // Wait until all blocks are handed over: the worker's watermark is not part of this test.
        thread::sleep(Duration::from_millis(100));
        let seen = tap.drain();
        assert!(
            seen.iter()
                .all(|frame| frame.member == frame.number as usize % 3)
        );
        assert!(seen.is_sorted_by_key(|frame| frame.ts_ns));
        assert_eq!(numbers(&seen), (0..252).collect::<Vec<_>>());
        tap.close_and_balance();
    });
}

#[test]
fn a_tag_is_taken_out_of_the_frame_and_delivered_beside_it() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, ROOMY));
        tap.open();
        let sender = Sender::new(veth);
        for tci in [0_u16, 0x202a] {
            let mut tagged = frame(tci.into(), 60);
            let [high, low] = tci.to_be_bytes();
            tagged.splice(12..12, [0x81, 0x00, high, low]);
            sender.0.send(&tagged).expect("a frame is sent");
        }
        let seen = tap.drain();
        let tags: Vec<_> = seen
            .iter()
            .map(|f| (f.number, f.vlan, f.wire_len))
            .collect();
        let tag = |tci| Some(VlanTag { tpid: 0x8100, tci });
        assert_eq!(tags, [(0, tag(0), 60), (0x202a, tag(0x202a), 60)]);
        tap.close_and_balance();
    });
}

#[test]
fn outgoing_frames_are_seen_or_ignored() {
    with_veth(|veth| {
        let mut all = Tap::new(&config(veth.sender, 1, ROOMY));
        let mut incoming = Tap::new(&GroupConfig {
            ignore_outgoing: true,
            ..config(veth.sender, 2, ROOMY)
        });
        let group = |tap: &Tap| packet::fanout_group(&tap.group.sockets()[0]).expect("a member");
        assert_ne!(group(&all), group(&incoming));
        all.open();
        incoming.open();
        Sender::new(veth).send(7, 60);
        let seen = all.drain();
        assert_eq!(numbers(&seen), [7]);
        assert_eq!(incoming.drain(), []);
    });
}

#[test]
fn a_link_that_goes_down_is_one_error_and_comes_back() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, ROOMY));
        tap.open();
        ip(&format!("link set {SENSOR} down"));
        let wait = Duration::from_secs(5);
        assert_eq!(tap.wait(wait), 1);
        assert_eq!(tap.poller.failed().collect::<Vec<_>>(), [0]);
        let error = tap.group.sockets()[0].take_error().expect("an error waits");
        assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
        let wait = Duration::from_millis(20);
        assert_eq!(tap.wait(wait), 0);
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        let sender = Sender::new(veth);
        sender.send(5, 60);
        assert_eq!(numbers(&tap.drain()), [5]);
        tap.close_and_balance();
    });
}

#[test]
fn a_link_that_is_down_can_be_opened() {
    with_veth(|veth| {
        ip(&format!("link set {SENSOR} down"));
        let mut tap = Tap::new(&config(veth.sensor, 2, ROOMY));
        tap.open();
        for socket in tap.group.sockets() {
            let error = socket.take_error().expect("an error waits");
            assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
        }
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        Sender::new(veth).send(6, 60);
        assert_eq!(numbers(&tap.drain()), [6]);
        tap.close_and_balance();
    });
}

#[test]
fn blocks_released_unread_are_counted() {
    with_veth(|veth| {
        let mut tap = Tap::new(&config(veth.sensor, 1, ROOMY));
        tap.open();
        let sender = Sender::new(veth);
        for number in 0..200 {
            sender.send(number, 60);
        }
        thread::sleep(Duration::from_millis(50));
        assert!(tap.readers[0].refill());
        tap.readers[0].advance();
        tap.readers[0].give_back();
        let read = tap.drain().len() as u64 + 1;
        assert_eq!(tap.readers[0].counts().frames_unread, 200 - read);
        tap.close_and_balance();
    });
}

#[test]
fn a_group_that_cannot_be_opened_is_an_error_with_its_cause() {
    with_veth(|veth| {
        let error = Group::open(&config(9999, 1, GEOMETRY), |_| ()).expect_err("no such index");
        assert_eq!(
            error.to_string(),
            "bind failed for sensor (no such interface in this network namespace): No such device"
        );
        let odd = RingGeometry {
            block_size: 6000,
            ..GEOMETRY
        };
        let error = Group::open(&config(veth.sensor, 1, odd), |_| ()).expect_err("not pages");
        let call = "setsockopt(PACKET_RX_RING) failed for sensor";
        assert!(error.to_string().starts_with(call), "{error}");
        let hasty = RingGeometry {
            block_timeout_ms: 0,
            ..GEOMETRY
        };
        let error = Group::open(&config(veth.sensor, 1, hasty), |_| ()).expect_err("0 ms");
        assert!(
            error.to_string().ends_with("a block timeout of 0 ms"),
            "{error}"
        );
    });
}

#[test]
fn a_group_may_have_more_than_256_members() {
    with_veth(|veth| {
        let small = RingGeometry {
            block_size: 4096,
            block_nr: 1,
            block_timeout_ms: 100,
        };
        // One more than the kernel's default. Not many more: each socket closes with a grace period.
        let mut tap = Tap::new(&config(veth.sensor, 257, small));
        tap.open();
        Sender::new(veth).send(1, 60);
        assert_eq!(numbers(&tap.drain()), [1]);
    });
}
