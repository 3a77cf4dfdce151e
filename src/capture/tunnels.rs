//! Which tunnels are opened: `--decap`.

use crate::error::ConfigError;
use crate::words::either;
use std::str::FromStr;

words! {
    /// A way to carry packets in packets.
    #[derive(Hash)]
    pub enum Tunnel {
        /// Generic routing encapsulation (IP protocol 47; RFC 2784, RFC 2890), NVGRE too.
        Gre = "gre",
        /// IPv4 in IPv4 (protocol 4; RFC 2003).
        Ipip = "ipip",
        /// IPv4 in IPv6 (RFC 2473).
        FourInSix = "4in6",
        /// IPv6 in IPv4 (protocol 41; RFC 4213).
        SixInFour = "6in4",
        /// IPv6 in IPv6 (RFC 2473).
        SixInSix = "6in6",
        /// VXLAN (RFC 7348).
        Vxlan = "vxlan",
        /// Geneve (RFC 8926).
        Geneve = "geneve",
    }
}

/// The tunnel that a packet came out of, the innermost one; or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Inside(u8);

impl Inside {
    /// Of no tunnel.
    pub const NONE: Self = Self(0);
    /// Bits of [`Inside::bits`].
    pub const BITS: u32 = 3;

    /// Which one.
    pub fn tunnel(self) -> Option<Tunnel> {
        let index = usize::from(self.0).checked_sub(1)?;
        Tunnel::ALL.get(index).copied()
    }

    /// Whether there is one.
    #[inline(always)]
    pub fn any(self) -> bool {
        self != Self::NONE
    }

    /// As a part of a word.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        self.0.into()
    }

    /// The lowest bits of a word.
    #[allow(clippy::cast_possible_truncation, reason = "the lowest bits are meant")]
    pub fn of_bits(word: u32) -> Self {
        Self(word as u8 & ((1 << Self::BITS) - 1))
    }
}

const _: () = assert!(Tunnel::COUNT < 1 << Inside::BITS);

impl From<Tunnel> for Inside {
    #[allow(clippy::cast_possible_truncation, reason = "a few tunnels")]
    fn from(tunnel: Tunnel) -> Self {
        Self(tunnel.index() as u8 + 1)
    }
}

/// Most UDP ports of each kind of tunnel.
const PORTS_MAX: usize = 4;

/// One value of `--decap`: `all`, or a tunnel's word, for those over UDP also with a port (`vxlan:8472`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `None`: all.
    tunnel: Option<Tunnel>,
    port: Option<u16>,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let all = |tunnel| Self { tunnel, port: None };
        if value == "all" {
            return Ok(all(None));
        }
        let (word, port) = match value.split_once(':') {
            Some((word, port)) => (word, Some(port)),
            None => (value, None),
        };
        let words = [&["all"], &Tunnel::ALL.map(Tunnel::word)[..]].concat();
        let tunnel: Tunnel = (word.parse()).map_err(|()| format!("must be {}", either(&words)))?;
        let Some(port) = port else {
            return Ok(all(Some(tunnel)));
        };
        if tunnel.default_port().is_none() {
            return Err(format!("{word} has no port; vxlan and geneve have one"));
        }
        let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        let number = port.parse().ok().filter(|_| is_plain);
        let number = number.ok_or("the port must be a whole number from 1 to 65535")?;
        Ok(Self {
            port: Some(number),
            ..all(Some(tunnel))
        })
    }
}

impl Tunnel {
    /// The UDP port of a tunnel over UDP (IANA).
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Vxlan => Some(4789),
            Self::Geneve => Some(6081),
            _ => None,
        }
    }
}

/// The tunnels that are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels {
    kinds: [bool; Tunnel::COUNT],
    /// Of VXLAN, then of Geneve; 0: none.
    ports: [u16; 2 * PORTS_MAX],
}

impl Tunnels {
    /// None is opened.
    pub const NONE: Self = Self {
        kinds: [false; Tunnel::COUNT],
        ports: [0; 2 * PORTS_MAX],
    };

    /// The tunnels of `--decap`; without a value none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a port of two kinds, or more than four of one.
    pub fn new(choices: &[Choice]) -> Result<Self, ConfigError> {
        let mut tunnels = Self::NONE;
        for choice in choices {
            let chosen = Tunnel::ALL.into_iter();
            for tunnel in chosen.filter(|&one| choice.tunnel.is_none_or(|only| only == one)) {
                tunnels.kinds[tunnel.index()] = true;
                if let Some(port) = choice.port.or(tunnel.default_port()) {
                    tunnels.add_port(tunnel, port)?;
                }
            }
        }
        Ok(tunnels)
    }

    fn add_port(&mut self, tunnel: Tunnel, port: u16) -> Result<(), ConfigError> {
        match self.by_port(port) {
            Some(known) if known == tunnel => return Ok(()),
            Some(other) => {
                return Err(ConfigError(format!(
                    "--decap {tunnel}:{port}: {other} has this port already"
                )));
            }
            None => {}
        }
        let first = if tunnel == Tunnel::Vxlan {
            0
        } else {
            PORTS_MAX
        };
        let mut places = self.ports[first..first + PORTS_MAX].iter_mut();
        let place = places.find(|place| **place == 0).ok_or_else(|| {
            ConfigError(format!(
                "--decap {tunnel}:{port}: at most {PORTS_MAX} ports of {tunnel}"
            ))
        })?;
        *place = port;
        Ok(())
    }

    /// Whether any is opened.
    pub fn any(&self) -> bool {
        self.kinds.contains(&true)
    }

    /// Whether tunnels of this kind are opened.
    #[inline]
    pub fn has(&self, tunnel: Tunnel) -> bool {
        self.kinds[tunnel.index()]
    }

    /// The tunnel that datagrams to this UDP port are.
    #[inline]
    pub fn by_port(&self, port: u16) -> Option<Tunnel> {
        let at = self.ports.iter().position(|&one| one == port && one != 0)?;
        Some(match at < PORTS_MAX {
            true => Tunnel::Vxlan,
            false => Tunnel::Geneve,
        })
    }

    /// The UDP ports that lead into tunnels.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.into_iter().filter(|&port| port != 0)
    }

    /// The IP protocols that are tunnels.
    pub fn protocols(&self, v4: bool) -> impl Iterator<Item = u8> {
        let inner = match v4 {
            true => [Tunnel::Ipip, Tunnel::SixInFour],
            false => [Tunnel::FourInSix, Tunnel::SixInSix],
        };
        let all = [(47, Tunnel::Gre), (4, inner[0]), (41, inner[1])];
        let all = all.map(|(protocol, tunnel)| self.has(tunnel).then_some(protocol));
        all.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnels(list: &str) -> Result<Tunnels, String> {
        let choices: Result<Vec<Choice>, String> = list.split(',').map(str::parse).collect();
        Tunnels::new(&choices?).map_err(|error| error.0)
    }

    #[test]
    fn a_tunnel_comes_back_from_its_bits() {
        for tunnel in Tunnel::ALL {
            let inside = Inside::from(tunnel);
            assert!(inside.any());
            assert_eq!(Inside::of_bits(!7 | inside.bits()), inside);
            assert_eq!(inside.tunnel(), Some(tunnel));
        }
        assert!(!Inside::NONE.any() && Inside::default().tunnel().is_none());
    }

    #[test]
    fn a_list_names_tunnels_and_their_ports() {
        let some = tunnels("gre,6in4,vxlan:8472").expect("sound");
        let has = Tunnel::ALL.map(|tunnel| some.has(tunnel));
        assert_eq!(has, [true, false, false, true, false, true, false]);
        assert_eq!(some.ports().collect::<Vec<_>>(), [8472]);
        assert_eq!(some.protocols(true).collect::<Vec<_>>(), [47, 41]);
        assert_eq!(some.protocols(false).collect::<Vec<_>>(), [47]);
        assert_eq!(some.by_port(8472), Some(Tunnel::Vxlan));
        assert_eq!((some.by_port(4789), some.by_port(0)), (None, None));
        let all = tunnels("all,vxlan:8472,vxlan,geneve:1").expect("sound");
        assert!(Tunnel::ALL.into_iter().all(|tunnel| all.has(tunnel)));
        assert_eq!(all.ports().collect::<Vec<_>>(), [4789, 8472, 6081, 1]);
        assert_eq!(all.by_port(1), Some(Tunnel::Geneve));
        assert!(!Tunnels::NONE.any() && Tunnels::new(&[]) == Ok(Tunnels::NONE));
    }

    #[test]
    fn what_is_no_tunnel_is_refused_with_a_reason() {
        for (list, why) in [
            (
                "gtp",
                "must be all, gre, ipip, 4in6, 6in4, 6in6, vxlan or geneve",
            ),
            ("gre:1", "gre has no port; vxlan and geneve have one"),
            ("vxlan:0", "the port must be a whole number from 1 to 65535"),
            (
                "vxlan:+1",
                "the port must be a whole number from 1 to 65535",
            ),
            (
                "vxlan:65536",
                "the port must be a whole number from 1 to 65535",
            ),
            (
                "vxlan:6081,geneve",
                "--decap geneve:6081: vxlan has this port already",
            ),
            (
                "vxlan:1,vxlan:2,vxlan:3,vxlan:4,vxlan:5",
                "--decap vxlan:5: at most 4 ports of vxlan",
            ),
        ] {
            assert_eq!(tunnels(list), Err(why.to_owned()), "{list}");
        }
    }
}
