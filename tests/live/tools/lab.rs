//! Two hosts: the scanner in a namespace of its own, the target in that of the sensor.

use super::modes::Mode;
use crate::common::netns::{SENDER, SENSOR, ip};
use crate::dump::Dump;
use crate::peer::Peer;
use crate::programs::text_of;
use ipnet::IpNet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The target with four open TCP ports and some that it drops; all others are closed.
pub const TARGET: &str = "10.9.0.2";
/// A target with one open port (22) and one that it drops (445).
pub const QUIET: &str = "10.9.0.3";
pub const TARGET6: &str = "fd00:9::2";
/// 256 addresses of the target host, on each of which only port 22 is open.
pub const NET: &str = "10.9.1.0/24";
/// Ends of the datagram behind which a manifest has nothing more; no tool has these addresses.
const LAST_ENDS: [&str; 2] = ["10.9.9.1", "10.9.9.2"];
const LAST: &[u8] = b"nothing follows this datagram";
const LAST_PORT: u16 = 9;
/// A flood is judged at the end of its second: the last datagram comes later.
const SLOT: Duration = Duration::from_millis(1_100);
/// A tool that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

const DROPS: &str = "
table inet target {
  chain in {
    type filter hook input priority 0
    ip daddr 10.9.0.2 tcp dport { 25, 110, 1723 } drop
    ip daddr 10.9.0.3 tcp dport 445 drop
    udp dport { 137, 138 } drop
  }
}";

/// Both hosts. What the target has is gone with its namespace.
pub struct Lab {
    scanner: Peer,
    target_mac: String,
    /// Nobody accepts: the kernel completes handshakes.
    _open: Vec<TcpListener>,
    _answering: Echo,
}

/// The scanner's address in the run of mode number `at`; it has no other in the target's network.
pub fn source(at: usize, is_ipv6: bool) -> String {
    match is_ipv6 {
        true => format!("fd00:9::{:x}", 0x100 + at),
        false => format!("10.9.0.{}", 10 + at),
    }
}

/// Whether the target host has this address.
pub fn is_target(address: IpAddr) -> bool {
    let net: IpNet = NET.parse().expect("a network");
    let mut own = [TARGET, QUIET, TARGET6].iter();
    net.contains(&address) || own.any(|text| text.parse() == Ok(address))
}

fn mac_of(device: &str) -> String {
    let path = format!("/sys/class/net/{device}/address");
    let output = Command::new("ip")
        .args(["-o", "link", "show", device])
        .output();
    let text = text_of(&output.expect("ip runs"));
    let mac = text
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    mac.expect(&path).to_owned()
}

fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).expect(&path);
}

/// A UDP port whose thread sends each datagram back until this is dropped.
struct Echo(Arc<AtomicBool>);

impl Echo {
    fn start(address: &str) -> Self {
        let socket = UdpSocket::bind(address).expect("a port");
        let pause = Some(Duration::from_millis(100));
        socket
            .set_read_timeout(pause)
            .expect("a socket with a time-out");
        let ended = Arc::new(AtomicBool::new(false));
        let echo = Self(Arc::clone(&ended));
        thread::spawn(move || {
            let mut datagram = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                    let _ = socket.send_to(&datagram[..length], from);
                }
            }
        });
        echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Lab {
    /// Makes both.
    ///
    /// # Errors
    ///
    /// What this machine lacks.
    pub fn new() -> Result<Self, String> {
        let nft = Command::new("nft").arg(DROPS).output();
        let nft = nft.map_err(|error| format!("nft: {error}"))?;
        if !nft.status.success() {
            return Err(format!("nft: {}", text_of(&nft)));
        }
        ip("link set lo up");
        // Every closed UDP port answers; by default one a second does.
        sysctl("ipv4/icmp_ratelimit", "0");
        let target_mac = mac_of(SENSOR);
        let scanner = Peer::new();
        let [here, there] = LAST_ENDS;
        scanner.run(move || {
            Self::with_ipv6(SENDER);
            ip(&format!("addr add {here}/24 dev {SENDER}"));
        });
        Self::with_ipv6(SENSOR);
        for address in [TARGET, QUIET, there] {
            ip(&format!("addr add {address}/24 dev {SENSOR}"));
        }
        ip(&format!("addr add {TARGET6}/64 dev {SENSOR} nodad"));
        ip(&format!("route add local {NET} dev lo"));
        // What spoofed sources are answered goes to the scanner, who ignores it.
        ip(&format!("route add default via {here} onlink dev {SENSOR}"));
        Ok(Self {
            scanner,
            target_mac,
            _open: Self::listen(),
            _answering: Echo::start("10.9.0.2:53"),
        })
    }

    fn with_ipv6(device: &str) {
        for scope in ["all", "default", device] {
            sysctl(&format!("ipv6/conf/{scope}/disable_ipv6"), "0");
        }
    }

    fn listen() -> Vec<TcpListener> {
        let addresses = [
            "10.9.0.2:80",
            "10.9.0.2:443",
            "10.9.0.2:8080",
            "[fd00:9::2]:80",
        ];
        let all = addresses.iter().chain(&["0.0.0.0:22"]);
        let bind = |address: &&str| TcpListener::bind(address).expect(address);
        all.map(bind).collect()
    }

    /// Runs one mode from an address of its own; returns the capture taken meanwhile.
    pub fn record(&self, at: usize, mode: &Mode, dir: &Path) -> PathBuf {
        let folder = dir.join(at.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let [v4, v6] = [false, true].map(|is_ipv6| source(at, is_ipv6));
        let words = mode.command(&v4, &self.target_mac);
        let is_flood = mode.promised.iter().any(|kind| kind.ends_with("_flood"));
        let dump = Dump::start(SENSOR, &folder);
        let output = self.scanner.run(move || {
            ip(&format!("addr add {v4}/24 dev {SENDER}"));
            ip(&format!("addr add {v6}/64 dev {SENDER} nodad"));
            ip(&format!(
                "route replace {NET} via {TARGET} dev {SENDER} src {v4}"
            ));
            let output = run(&words);
            if is_flood {
                thread::sleep(SLOT);
            }
            let [here, there] = LAST_ENDS;
            let last = UdpSocket::bind((here, 0)).expect("a port");
            last.send_to(LAST, (there, LAST_PORT)).expect("it is sent");
            ip(&format!("addr del {v4}/24 dev {SENDER}"));
            ip(&format!("addr del {v6}/64 dev {SENDER}"));
            output
        });
        output.unwrap_or_else(|why| panic!("{}: {why}", mode.line()));
        dump.end_after(LAST)
    }
}

/// Runs a command to its end, which may be a failure: hping3 fails where nothing answers.
fn run(words: &[String]) -> Result<(), String> {
    let mut command = Command::new(&words[0]);
    let child = command
        .args(&words[1..])
        .stdout(std::process::Stdio::null());
    let mut child = child
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let give_up = Instant::now() + PATIENCE;
    while child
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        if Instant::now() > give_up {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("did not end within {PATIENCE:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
