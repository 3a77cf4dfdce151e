//! The fanout program and the filters in the real kernel. Needs root: each test makes its own
//! network namespace, which ends with the test's thread.
#![allow(
    clippy::print_stdout,
    reason = "a test prints what it ran on, or why it was skipped"
)]

mod common;
#[path = "fanout/frames.rs"]
mod frames;

use std::collections::HashSet;
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::netns::{enter, try_ip as ip, without_ipv6};
use frames::{captured, frame, noisy};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::unistd::{read, write};
use packet::interp::{Packet, run};
use packet::{Tap, tun};
use synledger::capture::bpf::counted::RejectCounter;
use synledger::capture::bpf::depth::{control_only, without_bulk};
use synledger::capture::bpf::fanout::{Demux, Keys, Mode, demux, program};
use synledger::capture::bpf::sample::{self, Sample};
use synledger::capture::frame::{Class, Frame, LinkType};
use synledger::capture::socket::{GATE, accept};
use synledger::capture::tunnels::Tunnels;

/// A namespace with the veth pair `far` and `near`, or why there is none.
fn namespace() -> Result<(), String> {
    enter()?;
    without_ipv6();
    ip("link add far type veth peer name near")?;
    ip("link set far up")?;
    ip("link set near up")?;
    ip("link set lo up")
}

/// True if the test cannot run; prints why.
fn skipped() -> bool {
    namespace()
        .map_err(|why| println!("skipped: {why}"))
        .is_err()
}

fn tap(device: &str, listen: bool) -> Tap {
    let index = if_nametoindex(device).expect("the device is there");
    let tap = Tap::open(index, listen).expect("root may open a packet socket");
    tap.set_receive_queue(16 << 20)
        .expect("root may set any queue size");
    tap
}

/// What the tap received, once there are `want` frames and all other taps have had time for theirs. A busy machine
/// delivers late.
fn receive_all(tap: &Tap, want: usize) -> Vec<Vec<u8>> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut got = Vec::new();
    while got.len() < want && Instant::now() < end {
        match receive(tap) {
            Some(frame) => got.push(frame),
            None => sleep(Duration::from_millis(1)),
        }
    }
    sleep(Duration::from_millis(100));
    got.extend(std::iter::from_fn(|| receive(tap)));
    got
}

fn receive(tap: &Tap) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    match read(tap, &mut buffer) {
        Ok(n) => Some(buffer[..n].to_vec()),
        Err(Errno::EAGAIN) => None,
        Err(e) => panic!("cannot read: {e}"),
    }
}

fn native(keys: &Keys, link: LinkType, bytes: &[u8]) -> Demux {
    demux(keys, &captured(link, bytes))
}

/// A fanout group of 3 classes × `workers` on one device.
struct Group {
    keys: Keys,
    workers: u32,
    link: LinkType,
    members: Vec<Tap>,
}

impl Group {
    fn new(device: &str, id: u16, workers: u32, link: LinkType) -> Self {
        let keys = Keys::from_seed(u64::from(id));
        let members: Vec<Tap> = (0..Class::COUNT * workers as usize)
            .map(|_| {
                let member = tap(device, true);
                member.join(id).expect("the member joins");
                member
            })
            .collect();
        let program = program(&keys, workers, Mode::Fanout);
        members[0]
            .set_fanout_program(&program)
            .expect("the kernel takes it");
        Self {
            keys,
            workers,
            link,
            members,
        }
    }

    /// Receives frames until there are `want`; asserts that each came to the member that `demux` gives.
    fn drain(&self, want: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            for (member, tap) in self.members.iter().enumerate() {
                while let Some(bytes) = receive(tap) {
                    let place = native(&self.keys, self.link, &bytes);
                    let (class, worker) = place.member(self.workers);
                    let own = class as usize * self.workers as usize + worker as usize;
                    assert_eq!(member, own, "{place:?} of {bytes:02x?}");
                    got.push(bytes);
                }
            }
            if got.len() >= want || Instant::now() > end {
                return got;
            }
            sleep(Duration::from_micros(200));
        }
    }

    /// Sends `frames` through `from`; each that the kernel accepts must be received `times` times.
    fn pass(&self, from: &Tap, frames: &[Vec<u8>], times: usize) -> usize {
        let mut seen = 0;
        for batch in frames.chunks(500) {
            let sent = batch.iter().filter(|f| write(from, f).is_ok()).count();
            let got = self.drain(sent * times);
            assert_eq!(got.len(), sent * times);
            if self.link == LinkType::Ethernet {
                let ids: HashSet<_> = got.iter().map(|f| f[6..12].to_vec()).collect();
                assert_eq!(ids.len(), sent, "each frame comes to one member");
            }
            seen += got.len();
        }
        seen
    }
}

/// Frames that the kernel forwards: it drops those that end within their outermost tag.
fn frames(first: u64, count: u64) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|i| {
            if i % 2 == 0 {
                frame(i, i, false).0
            } else {
                noisy(i, i)
            }
        })
        .filter(|f| f.len() >= 20 || !matches!(f[12..14], [0x81, 0x00] | [0x88, 0xa8]))
        .filter(|f| f.len() <= 1500)
        .collect()
}

#[test]
fn the_kernel_and_user_space_place_every_frame_alike() {
    if skipped() {
        return;
    }
    let group = Group::new("near", 77, 4, LinkType::Ethernet);
    let inward = group.pass(&tap("far", false), &frames(0, 100_000), 1);
    let outward = group.pass(&tap("near", false), &frames(200_000, 30_000), 1);
    println!("veth, 3 x 4 members: {inward} frames in, {outward} out");
    assert!(inward > 90_000 && outward > 25_000);
}

#[test]
fn frames_tagged_by_the_stack_are_placed_alike() {
    if skipped() {
        return;
    }
    let made =
        ip("link add link near name tagged type vlan id 7").and_then(|()| ip("link set tagged up"));
    if let Err(why) = made {
        println!("skipped: {why}");
        return;
    }
    let group = Group::new("near", 80, 4, LinkType::Ethernet);
    let tagged = group.pass(&tap("tagged", false), &frames(300_000, 10_000), 1);
    println!("through a VLAN device: {tagged} frames out");
    assert!(tagged > 8_000);
}

#[test]
fn loopback_frames_are_placed_alike_in_both_directions() {
    if skipped() {
        return;
    }
    let group = Group::new("lo", 78, 3, LinkType::Ethernet);
    let seen = group.pass(&tap("lo", false), &frames(0, 10_000), 2);
    println!("lo, 3 x 3 members: {seen} frames");
    assert!(seen > 16_000);
}

#[test]
fn packets_of_a_device_without_link_header_are_placed_alike() {
    if skipped() {
        return;
    }
    let device = tun("bare").map_err(|e| e.to_string());
    let mut device = match device.and_then(|file| ip("link set bare up").map(|()| file)) {
        Ok(file) => file,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let group = Group::new("bare", 79, 5, LinkType::RawIp);
    let mut packets = frames(0, 10_000);
    packets.retain(|f| {
        matches!(
            (&f[12..14], f.get(14).map(|b| b >> 4)),
            ([8, 0], Some(4)) | ([0x86, 0xdd], Some(6))
        )
    });
    let packets: Vec<_> = packets.iter().map(|f| f[14..].to_vec()).collect();
    let from = tap("bare", false);
    let outward = group.pass(&from, &packets, 1);
    let mut inward = 0;
    for batch in packets.chunks(200) {
        for packet in batch {
            device.write_all(packet).expect("the packet comes in");
        }
        inward += group.drain(batch.len()).len();
    }
    println!("tun, 3 x 5 members: {inward} packets in, {outward} out");
    assert_eq!((inward, outward), (packets.len(), packets.len()));
}

#[test]
fn filters_pass_what_they_should_and_rejects_are_counted() {
    if skipped() {
        return;
    }
    let frames = frames(0, 4_000);
    let from = tap("far", false);
    let (all, none, some, counted) = (
        tap("near", true),
        tap("near", true),
        tap("near", true),
        tap("near", true),
    );
    all.filter(&accept(96)).expect("attached");
    none.filter(&GATE).expect("attached");
    some.filter(&control_only(70)).expect("attached");
    let counter = RejectCounter::new(&GATE)
        .map_err(|why| println!("not counted: {why}"))
        .ok();
    if let Some(counter) = &counter {
        counted.filter_loaded(counter.fd()).expect("attached");
    }
    let sent = frames.iter().filter(|f| write(&from, f).is_ok()).count();
    let passed = receive_all(&all, sent);
    let take = |tap: &Tap| std::iter::from_fn(|| receive(tap)).collect::<Vec<_>>();
    assert_eq!(passed.len(), sent);
    assert!(passed.iter().all(|f| f.len() <= 96));
    assert!(take(&none).is_empty());
    let keys = Keys::from_seed(0);
    // The rule reads more than 96 bytes: it gets the whole frame, without its tag.
    let want = frames.iter().filter(|f| {
        let tagged = matches!(f[12..14], [0x81, 0x00] | [0x88, 0xa8]);
        let bytes = if tagged {
            [&f[..12], &f[16..]].concat()
        } else {
            f.to_vec()
        };
        native(&keys, LinkType::Ethernet, &bytes).class != Class::Data
    });
    let kept = take(&some);
    assert_eq!(kept.len(), want.count());
    assert!(kept.iter().all(|f| f.len() <= 70));
    if let Some(counter) = &counter {
        assert_eq!(
            counter.count().expect("read"),
            u64::try_from(sent).expect("fits")
        );
        assert!(take(&counted).is_empty());
    }
    println!(
        "{sent} frames: {} control or open; counter: {}",
        kept.len(),
        counter.is_some()
    );
}

#[test]
fn bulk_data_is_rejected_by_classic_bpf_and_ebpf_and_counted() {
    if skipped() {
        return;
    }
    let frames = frames(5_000, 4_000);
    let from = tap("far", false);
    let (all, classic, counted) = (tap("near", true), tap("near", true), tap("near", true));
    all.filter(&accept(4096)).expect("attached");
    let program = without_bulk(LinkType::Ethernet, 70, &Tunnels::NONE);
    classic.filter(&program).expect("attached");
    let counter = RejectCounter::new(&program)
        .map_err(|why| println!("not counted: {why}"))
        .ok();
    if let Some(counter) = &counter {
        counted.filter_loaded(counter.fd()).expect("attached");
    }
    let sent = frames.iter().filter(|f| write(&from, f).is_ok()).count();
    let whole = receive_all(&all, sent);
    let take = |tap: &Tap| std::iter::from_fn(|| receive(tap)).collect::<Vec<_>>();
    let want: Vec<Vec<u8>> = whole
        .into_iter()
        .filter(|data| {
            let data = &data[..];
            run(
                &program,
                &Packet {
                    data,
                    ..Packet::default()
                },
            ) > 0
        })
        .map(|frame| frame[..frame.len().min(70)].to_vec())
        .collect();
    let kept = take(&classic);
    assert_eq!(kept, want);
    assert!(
        kept.len() * 4 > sent && kept.len() < sent,
        "{} of {sent}",
        kept.len()
    );
    if let Some(counter) = &counter {
        assert_eq!(take(&counted), want);
        let rejected = counter.count().expect("read");
        assert_eq!(usize::try_from(rejected), Ok(sent - kept.len()));
    }
    println!(
        "{sent} frames: {} kept; counter: {}",
        kept.len(),
        counter.is_some()
    );
}

#[test]
fn the_filter_of_a_sample_and_its_twin_keep_the_same_in_both_directions() {
    if skipped() {
        return;
    }
    let frames = frames(7, 20_000);
    let from = tap("far", false);
    // Incoming frames, from which the kernel removes the outer tag, and outgoing ones, which keep it.
    for device in ["near", "far"] {
        for one_in in [1, 3] {
            let sample = Sample::from_seed(one_in, 11);
            let (all, kept) = (tap(device, true), tap(device, true));
            all.filter(&accept(4096)).expect("attached");
            kept.filter(&sample.program(LinkType::Ethernet, 192))
                .expect("attached");
            let sent = frames.iter().filter(|f| write(&from, f).is_ok()).count();
            let whole = receive_all(&all, sent);
            let take = |tap: &Tap| std::iter::from_fn(|| receive(tap)).collect::<Vec<_>>();
            let want: Vec<Vec<u8>> = whole
                .into_iter()
                .filter(|bytes| {
                    let frame = Frame {
                        bytes,
                        wire_len: u32::try_from(bytes.len()).expect("frames are short"),
                        ts_ns: 0,
                        interface: 0,
                        link: LinkType::Ethernet,
                        vlan: None,
                        gso: false,
                        incoming: false,
                    };
                    sample::syn(&frame).is_some_and(|ends| sample.keeps(&ends))
                })
                .map(|bytes| bytes[..bytes.len().min(192)].to_vec())
                .collect();
            println!("{device}, 1 in {one_in}: {} of {sent} frames", want.len());
            assert!(want.len() * one_in as usize > 300);
            assert_eq!(take(&kept), want, "{device}, 1 in {one_in}");
        }
    }
}
