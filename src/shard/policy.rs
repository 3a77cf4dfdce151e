//! What the operator asked to see. Nothing here changes what is counted or decided.

use crate::decode::key::Address;
use crate::host::addresses::{Direction, Localities, parse_network};
use crate::inspect::contact::Contact;
use crate::inspect::detection::{AlertStatus, Detection, Extent, Verdict};
use crate::inspect::setting::Setting;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

words! {
    /// `--alert`.
    #[derive(Default)]
    pub flag enum AlertLevel {
        /// Whatever fulfils a rule.
        #[default]
        Policy = "policy",
        /// What is suspicious, or a scan.
        Suspicious = "suspicious",
        /// Scans.
        Scan = "scan",
    }
}

impl AlertLevel {
    /// The least verdict of an alert.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Self::Policy => Verdict::Unproven,
            Self::Suspicious => Verdict::Suspicious,
            Self::Scan => Verdict::Scan,
        }
    }
}

/// One `--allow`: sources whose alerts are withheld, all of them or those about one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The sources.
    pub net: IpNet,
    /// The destination port; `None`: every port.
    pub port: Option<u16>,
}

/// Reads `CIDR` or `CIDR:PORT`; IPv6 with a port stands in brackets, `[2001:db8::/32]:443`.
///
/// # Errors
///
/// Says what was wrong and how it should look.
pub fn parse_allowed(value: &str) -> Result<Allowed, String> {
    let (net, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let (net, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
            let port = match port {
                "" => None,
                _ => Some(port.strip_prefix(':').ok_or("a port follows `]:`")?),
            };
            (net, port)
        }
        // More than one colon is an IPv6 address without a port.
        None => match value.split_once(':') {
            Some((net, port)) if !port.contains(':') => (net, Some(port)),
            _ => (value, None),
        },
    };
    let port = port.map(|port| {
        let number = port.parse::<u16>();
        number.map_err(|_| format!("port {port:?} must be a number from 0 to 65535"))
    });
    Ok(Allowed {
        net: parse_network(net)?,
        port: port.transpose()?,
    })
}

/// The operator's selection, and the local addresses.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which addresses are ours.
    pub localities: Arc<Localities>,
    /// Directions of connections to log; empty: all.
    pub directions: Arc<[Direction]>,
    /// Alert on scans in every direction.
    pub all_scans: bool,
    /// `--scan-target host`: in the scan rule all of our addresses are one.
    pub host: bool,
    /// Whose alerts are withheld.
    pub allow: Arc<[Allowed]>,
    /// Addresses where nothing is: whoever touches them is searching.
    pub dark: Arc<[IpNet]>,
    /// The least verdict of an alert.
    pub alert: Verdict,
}

impl Policy {
    /// Whether a connection in this direction is asked for.
    #[inline]
    pub fn wants_direction(&self, src: Address, dst: Address) -> bool {
        self.directions.is_empty()
            || (self.directions).contains(&self.localities.direction(src.into(), dst.into()))
    }

    /// Whether a scan in this direction is alerted on.
    pub fn in_scan_scope(&self, direction: Direction) -> bool {
        self.all_scans || !matches!(direction, Direction::Out | Direction::Local)
    }

    /// Whether a detection is an alert.
    pub(super) fn status_of(&self, detection: &Detection) -> AlertStatus {
        // A flood has no one source: it comes from elsewhere.
        let (src, dst) = (detection.subject.src(), detection.subject.dst());
        self.alert_status(detection, self.localities.direction_to(src, dst))
    }

    /// Whether a detection in this direction is an alert.
    pub fn alert_status(&self, detection: &Detection, direction: Direction) -> AlertStatus {
        if !self.in_scan_scope(direction) {
            AlertStatus::OutOfScope
        } else if self.withholds(detection) {
            AlertStatus::Allowed
        } else if detection
            .verdict
            .is_some_and(|verdict| verdict < self.least(detection))
        {
            AlertStatus::BelowVerdict
        } else {
            AlertStatus::Alert
        }
    }

    /// The least verdict of an alert. Of a network something must be suspicious: many share it.
    fn least(&self, detection: &Detection) -> Verdict {
        match detection.src_prefix {
            Some(_) => self.alert.max(Verdict::Suspicious),
            None => self.alert,
        }
    }

    /// Whether this alert is withheld: its source is allowed, to every port or to each port of the scan.
    ///
    /// If one port is not allowed, or unknown, the whole scan is reported.
    pub fn withholds(&self, detection: &Detection) -> bool {
        let mut ports = Vec::new();
        for allowed in self.allow.iter() {
            let src = detection.subject.src();
            let is_whole =
                (detection.src_prefix).is_none_or(|prefix| allowed.net.prefix_len() <= prefix);
            if is_whole && src.is_some_and(|src| allowed.net.contains(&src)) {
                match allowed.port {
                    None => return true,
                    Some(port) => ports.push(port),
                }
            }
        }
        let allowed =
            |&(first, last): &(u16, u16)| (first..=last).all(|port| ports.contains(&port));
        match (&detection.extent, detection.subject.port()) {
            (Extent::Ports { count, ranges }, _) => {
                let known = |&(first, last): &(u16, u16)| u64::from(last - first) + 1;
                ranges.iter().map(known).sum::<u64>() == u64::from(*count)
                    && ranges.iter().all(allowed)
            }
            (_, port) => port.is_some_and(|port| ports.contains(&port)),
        }
    }

    /// What the settings say about a contact.
    #[inline]
    pub(super) fn of_contact(&self, contact: &Contact, asks_local: bool) -> Setting {
        match self.host || asks_local || !self.dark.is_empty() {
            true => self.settings_of(contact, asks_local),
            false => Setting::default(),
        }
    }

    #[inline(never)]
    fn settings_of(&self, contact: &Contact, asks_local: bool) -> Setting {
        let is_dark = !self.dark.is_empty() && self.is_dark(contact.dst().into());
        let is_local = asks_local && self.localities.is_ours(contact.src().into());
        Setting::default()
            .with(Setting::UNITED, self.is_united(contact.dst()))
            .with(Setting::DARK, is_dark)
            .with(Setting::LOCAL, is_local)
    }

    /// Whether `address` is one of this host's.
    pub(super) fn is_this_host(&self, address: IpAddr) -> bool {
        // The first look-up says no to nearly all, and is the faster one.
        self.localities.is_ours(address) && self.localities.is_this_host(address)
    }

    fn is_dark(&self, dst: IpAddr) -> bool {
        self.dark.iter().any(|net| net.contains(&dst))
    }

    /// Whether rules about a pair count `dst` as one with all of ours, IPv4 and IPv6 alike. Records name real addresses.
    #[inline]
    pub fn is_united(&self, dst: Address) -> bool {
        self.host && self.localities.is_ours(dst.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detection::{Evidence, Kind, Phase, Proof, SourceEvidence, Subject};

    fn allowed(value: &str) -> Allowed {
        parse_allowed(value).expect(value)
    }

    #[test]
    fn an_allowed_network_may_have_a_port() {
        let read = |value| {
            let Allowed { net, port } = allowed(value);
            (net.to_string(), port)
        };
        assert_eq!(read("10.0.0.0/8"), ("10.0.0.0/8".into(), None));
        assert_eq!(read("192.0.2.1"), ("192.0.2.1/32".into(), None));
        assert_eq!(read("10.0.0.0/8:443"), ("10.0.0.0/8".into(), Some(443)));
        assert_eq!(read("192.0.2.1:0"), ("192.0.2.1/32".into(), Some(0)));
        assert_eq!(read("2001:db8::1"), ("2001:db8::1/128".into(), None));
        assert_eq!(read("2001:db8::/32"), ("2001:db8::/32".into(), None));
        assert_eq!(read("[2001:db8::/32]"), ("2001:db8::/32".into(), None));
        let with_port = ("2001:db8::/32".into(), Some(443));
        assert_eq!(read("[2001:db8::/32]:443"), with_port);
    }

    #[test]
    fn what_cannot_be_allowed_is_named_with_what_can() {
        for (value, says) in [
            ("10.0.0.0/33", "10.0.0.0/33 must be a network"),
            ("10.0.0.0/8:65536", "0 to 65535"),
            ("10.0.0.0/8:", "0 to 65535"),
            ("[2001:db8::1", "not closed"),
            ("[2001:db8::1]443", "a port follows"),
            ("scanner.example", "must be a network"),
        ] {
            let error = parse_allowed(value).expect_err(value);
            assert!(error.contains(says), "{value}: {error}");
        }
    }

    #[test]
    fn all_addresses_of_the_host_are_one_target_if_that_is_asked() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let ours = [ip("192.0.2.7"), ip("2001:db8::7"), ip("192.0.2.8")];
        let mut policy = Policy {
            localities: Arc::new(Localities::live(ours, &[])),
            directions: Arc::new([]),
            all_scans: true,
            host: true,
            allow: Arc::new([]),
            dark: Arc::new([]),
            alert: Verdict::Unproven,
        };
        assert!(ours.iter().all(|&ours| policy.is_united(ours.into())));
        assert!(!policy.is_united(ip("198.51.100.1").into()));
        policy.host = false;
        assert!(!policy.is_united(ours[0].into()));
    }

    #[test]
    fn a_scan_is_withheld_only_if_each_of_its_ports_is_allowed() {
        let scan = |src: &str, ranges: &[(u16, u16)], ports| Detection {
            kind: Kind::PortScan,
            phase: Phase::Started,
            ts_ns: 0,
            subject: Subject::Pair {
                src: src.parse().expect("an address"),
                dst: "198.51.100.1".parse().expect("an address"),
            },
            extent: Extent::Ports {
                count: ports,
                ranges: ranges.to_vec(),
            },
            proof: Proof::None,
            first_ns: 0,
            last_ns: 0,
            window_ns: 1,
            exact: true,
            complete: true,
            evidence: Evidence::default(),
            interface: 0,
            src_prefix: None,
            vlan: [0; 2],
            vlan_count: 0,
            status: AlertStatus::Alert,
            source: SourceEvidence::default(),
            verdict: Some(Verdict::Unproven),
            crowd: None,
        };
        let policy = |values: &[&str]| Policy {
            localities: Arc::default(),
            directions: Arc::new([]),
            all_scans: true,
            host: false,
            allow: values.iter().map(|value| allowed(value)).collect(),
            dark: Arc::new([]),
            alert: Verdict::Unproven,
        };
        let four = [(80, 81), (443, 443), (8080, 8080)];
        let ours = scan("192.0.2.9", &four, 4);
        assert!(!policy(&[]).withholds(&ours));
        assert!(policy(&["192.0.2.0/24"]).withholds(&ours));
        assert!(!policy(&["192.0.3.0/24"]).withholds(&ours));
        let ports = ["80", "81", "443", "8080"].map(|port| format!("192.0.2.9:{port}"));
        let ports = ports.each_ref().map(String::as_str);
        assert!(policy(&ports).withholds(&ours));
        assert!(!policy(&ports[1..]).withholds(&ours), "port 80 is not");
        let other = scan("192.0.2.10", &four, 4);
        assert!(!policy(&ports).withholds(&other), "not that source");
        let unknown = scan("192.0.2.9", &[], 4);
        assert!(
            !policy(&ports).withholds(&unknown),
            "its ports are not known"
        );
        assert!(policy(&["192.0.2.9"]).withholds(&unknown));
        let sweep = Detection {
            kind: Kind::HostSweep,
            subject: Subject::SourcePort {
                src: unknown.subject.src().expect("a pair has one"),
                port: 443,
                dst: unknown.subject.dst(),
            },
            extent: Extent::Hosts { count: 25 },
            ..unknown
        };
        assert!(policy(&["192.0.2.9:443"]).withholds(&sweep));
        assert!(!policy(&["192.0.2.9:80"]).withholds(&sweep));
        assert!(policy(&["192.0.2.9"]).withholds(&sweep));
    }
}
