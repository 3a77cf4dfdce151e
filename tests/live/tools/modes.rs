//! Tools and their modes.

use super::lab::{NET, QUIET, TARGET, TARGET6};
use crate::common::netns::SENDER;

/// A run of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Its program and arguments. `TARGET`, `QUIET`, `TARGET6` and `NET` stand for addresses of the target, `SOURCE`
    /// for the scanner's, `MAC` for the target's link address, `DEVICE` for the scanner's device.
    line: &'static str,
    /// Its documented name, and the delay between its probes, ms, where it was recorded faster: the time stamps are
    /// then rewritten to that delay.
    pub slowed: Option<(&'static str, i64)>,
    /// Kinds that rules of the sensor promise to detect.
    pub promised: &'static [&'static str],
    /// Whether the short form runs it.
    pub short: bool,
}

const fn short(line: &'static str, promised: &'static [&'static str]) -> Mode {
    Mode {
        line,
        slowed: None,
        promised,
        short: true,
    }
}

const fn long(line: &'static str, promised: &'static [&'static str]) -> Mode {
    Mode {
        short: false,
        ..short(line, promised)
    }
}

/// nmap, one probe after the other of the 15 top ports of `QUIET`, with this delay.
const fn slow(name: &'static str, delay_ms: i64, promised: &'static [&'static str]) -> Mode {
    Mode {
        slowed: Some((name, delay_ms)),
        ..short(
            "nmap -n -Pn -sS -T1 --scan-delay 40ms --initial-rtt-timeout 100ms --max-retries 0 --top-ports 15 QUIET",
            promised,
        )
    }
}

const PROGRAMS: [&str; 4] = ["nmap", "masscan", "zmap", "hping3"];

const SCAN: &[&str] = &["port_scan"];
const SWEEP: &[&str] = &["host_sweep"];
const STEALTH: &[&str] = &["stealth_scan"];
const UDP: &[&str] = &["udp_scan"];
const NOTHING: &[&str] = &[];

/// Every mode. The scanner has an address of its own in each.
pub const MODES: &[Mode] = &[
    short("nmap -n -Pn -sS --top-ports 100 TARGET", SCAN),
    short("nmap -n -Pn -sT --top-ports 15 TARGET", SCAN),
    long("nmap -n -Pn -sS --top-ports 3 TARGET", NOTHING),
    short("nmap -n -Pn -sS --top-ports 4 TARGET", SCAN),
    long("nmap -n -Pn -sS --top-ports 15 TARGET", SCAN),
    short("nmap -n -Pn -sF --top-ports 15 TARGET", STEALTH),
    short("nmap -n -Pn -sN --top-ports 15 TARGET", STEALTH),
    short("nmap -n -Pn -sX --top-ports 15 TARGET", STEALTH),
    short("nmap -n -Pn -sM --top-ports 15 TARGET", STEALTH),
    short("nmap -n -Pn -sA --top-ports 15 TARGET", STEALTH),
    long("nmap -n -Pn -sW --top-ports 15 TARGET", STEALTH),
    long(
        "nmap -n -Pn -sS --scanflags SYNFIN --top-ports 15 TARGET",
        &["port_scan", "stealth_scan"],
    ),
    short("nmap -n -Pn -sU --top-ports 20 --max-retries 1 TARGET", UDP),
    long(
        "nmap -n -Pn -sU -g 53 -p 2000-2019 --max-retries 1 TARGET",
        UDP,
    ),
    short("nmap -n -Pn -sY -p 1-20 TARGET", NOTHING),
    slow("nmap -T0", 300_000, &["slow_scan"]),
    slow("nmap -T1", 15_000, &["port_scan", "slow_scan"]),
    long(
        "nmap -n -Pn -sS -T2 --max-retries 0 --top-ports 15 QUIET",
        SCAN,
    ),
    long("nmap -n -Pn -sS -T3 --top-ports 15 QUIET", SCAN),
    long("nmap -n -Pn -sS -T4 --top-ports 15 QUIET", SCAN),
    long("nmap -n -Pn -sS -T5 --top-ports 15 QUIET", SCAN),
    long(
        "nmap -n -Pn -sS --scan-delay 0.4s --max-retries 0 --top-ports 15 QUIET",
        SCAN,
    ),
    slow("nmap --scan-delay 15s", 15_000, &["port_scan", "slow_scan"]),
    slow("nmap --scan-delay 19s", 19_000, &["port_scan", "slow_scan"]),
    slow("nmap --scan-delay 21s", 21_000, &["slow_scan"]),
    slow("nmap --scan-delay 61s", 61_000, &["slow_scan"]),
    short("nmap -n -Pn -sS -f --top-ports 15 TARGET", SCAN),
    long(
        "nmap -n -Pn -sS -D 10.9.0.201,10.9.0.202,ME --top-ports 100 TARGET",
        &["distributed_scan", "port_scan"],
    ),
    short("nmap -n -Pn -sS -6 --top-ports 15 TARGET6", SCAN),
    long("nmap -n -Pn -sS -p 80 NET", SWEEP),
    long(
        "masscan TARGET -p1-100 --rate 1000 --adapter DEVICE --adapter-ip SOURCE --router-mac MAC --wait 0",
        SCAN,
    ),
    long(
        "masscan NET -p80 --rate 1000 --adapter DEVICE --adapter-ip SOURCE --router-mac MAC --wait 0",
        SWEEP,
    ),
    short(
        "zmap -q -p 80 NET -i DEVICE -S SOURCE -G MAC -r 500 -c 1 -b /dev/null -o /dev/null",
        SWEEP,
    ),
    long(
        "zmap -q -p 80 10.9.1.0/28 -i DEVICE -S SOURCE -G MAC -r 500 -c 1 -b /dev/null -o /dev/null",
        NOTHING,
    ),
    long(
        "zmap -q -M udp -p 53 --probe-args=text:x NET -i DEVICE -S SOURCE -G MAC -r 500 -c 1 -b /dev/null -o /dev/null",
        NOTHING,
    ),
    short("hping3 -n -q -a SOURCE --scan 1-50 -S TARGET", SCAN),
    short(
        "hping3 -n -q -S -p 80 --faster -c 4000 --rand-source TARGET",
        &["syn_flood"],
    ),
    long(
        "hping3 -n -q -S -p 80 --faster -c 4000 TARGET",
        &["syn_flood"],
    ),
    long(
        "timeout -s INT 0.5 hping3 -n -q -R -p 80 --flood TARGET",
        &["rst_flood"],
    ),
    long(
        "timeout -s INT 0.5 hping3 -n -q -2 -p 99 --flood TARGET",
        &["udp_flood"],
    ),
    long(
        "timeout -s INT 0.2 hping3 -n -q -1 --flood TARGET",
        &["icmp_flood"],
    ),
];

impl Mode {
    /// The program that must be installed.
    pub fn program(&self) -> &'static str {
        let mut words = self.line.split(' ');
        let program = words.find(|word| PROGRAMS.contains(word));
        program.expect("a line names its program")
    }

    pub fn is_ipv6(&self) -> bool {
        self.line.ends_with("TARGET6")
    }

    /// As the table shows it.
    pub fn line(&self) -> String {
        self.slowed.map_or(self.line, |(name, _)| name).to_owned()
    }

    /// The command, with the addresses of this run.
    pub fn command(&self, source: &str, mac: &str) -> Vec<String> {
        let word = |word| match word {
            "TARGET" => TARGET,
            "QUIET" => QUIET,
            "TARGET6" => TARGET6,
            "NET" => NET,
            "SOURCE" => source,
            "MAC" => mac,
            "DEVICE" => SENDER,
            word => word,
        };
        let words = self.line.split(' ').map(word);
        words.map(str::to_owned).collect()
    }
}
