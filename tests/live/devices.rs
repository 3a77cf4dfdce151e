//! Devices that are no Ethernet: PPP, and tunnels with a header of their own at the tap.

use super::sensor::{Ended, Sensor};
use crate::common::netns::{SENSOR, alone, ip, try_ip, with_veth, without_ipv6};
use crate::common::syn;
use craft::{Flow, Link};
use nix::sys::signal::Signal;
use packet::{TxSocket, tun_as};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const ARPHRD_PPP: u16 = 512;
const ARPHRD_IPGRE: u16 = 778;

/// A SYN of a host beyond the device.
fn from_outside(last: u8) -> Vec<u8> {
    syn(
        Flow::v4([198, 51, 100, last], 1024, [192, 0, 2, 1], 443),
        u32::from(last),
    )
}

fn wait_for_line(sensor: &Sensor, part: &str) {
    sensor.wait_for(part, || sensor.content("log.txt").contains(part));
}

fn assert_all_counted(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("packets, 0 frames not decoded"),
        "{}",
        ended.stderr
    );
}

/// The default route over PPP, as behind many a modem: `-i auto` watches it, both directions.
#[test]
fn a_default_route_over_ppp_is_watched() {
    alone(|| {
        without_ipv6();
        let mut device = match tun_as("ppp0", ARPHRD_PPP, false) {
            Ok(device) => device,
            Err(why) => return eprintln!("skipped: no tun device: {why}"),
        };
        ip("link set ppp0 up");
        ip("address add 192.0.2.1/32 dev ppp0");
        ip("route add default dev ppp0");
        let sensor = Sensor::begin(&["--strict", "-i", "auto"]);
        sensor.wait_for_event("start");
        device
            .write_all(&from_outside(7))
            .expect("a packet comes in");
        wait_for_line(
            &sensor,
            ": New connection: 198.51.100.7:1024 -> 192.0.2.1:443",
        );
        // Nobody answers: the SYN goes out, which is all that is asked.
        let target = ([203, 0, 113, 9], 25).into();
        let _ = TcpStream::connect_timeout(&target, Duration::from_millis(300));
        wait_for_line(&sensor, " -> 203.0.113.9:25");
        let ended = sensor.stop(Signal::SIGINT);
        assert_all_counted(&ended);
        assert_eq!(ended.lines(": New connection: ").len(), 2, "{}", ended.text);
        // Each SYN lay in the ring of its class.
        let last = ended.eve.last().expect("records").to_string();
        let misrouted = last.matches("\"misrouted_frames\"").count();
        let none = last.matches("\"misrouted_frames\":0").count();
        assert_eq!(misrouted, none, "{last}");
    });
}

/// The kernel removes whatever header stands before the IP header.
#[test]
fn a_tunnel_device_with_a_header_of_its_own_is_read_in_both_directions() {
    alone(|| {
        without_ipv6();
        let mut device = match tun_as("gre1", ARPHRD_IPGRE, true) {
            Ok(device) => device,
            Err(why) => return eprintln!("skipped: no tun device: {why}"),
        };
        ip("link set gre1 up");
        let sensor = Sensor::begin(&["--strict", "-i", "gre1"]);
        sensor.wait_for_event("start");
        let frame = |last| Link::ethernet().frame(&from_outside(last));
        device.write_all(&frame(7)).expect("a frame comes in");
        wait_for_line(&sensor, ": New connection: 198.51.100.7:1024");
        let index = nix::net::if_::if_nametoindex("gre1").expect("it was just made");
        let sender = TxSocket::open(index).expect("a sender opens");
        sender.send(&frame(8)).expect("a frame goes out");
        wait_for_line(&sensor, ": New connection: 198.51.100.8:1024");
        let ended = sensor.stop(Signal::SIGINT);
        assert_all_counted(&ended);
    });
}

/// What a VXLAN device carries is read as Ethernet; only the device below shows the tunnel's own packets.
#[test]
fn a_vxlan_device_shows_what_the_tunnel_carries() {
    with_veth(|_| {
        ip(&format!("address add 192.0.2.1/24 dev {SENSOR}"));
        let vxlan = "link add vx0 type vxlan id 7 remote 192.0.2.2 dstport 4789";
        if let Err(why) = try_ip(&format!("{vxlan} dev {SENSOR}")) {
            return eprintln!("skipped: no VXLAN: {why}");
        }
        ip("link set vx0 up");
        let sensor = Sensor::begin(&["--strict", "-i", "vx0"]);
        sensor.wait_for_event("start");
        let index = nix::net::if_::if_nametoindex("vx0").expect("it was just made");
        let sender = TxSocket::open(index).expect("a sender opens");
        let frame = Link::ethernet().frame(&from_outside(9));
        sender.send(&frame).expect("a frame goes out");
        wait_for_line(&sensor, ": New connection: 198.51.100.9:1024");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.lines(": New connection: ").len(), 1, "{}", ended.text);
    });
}
