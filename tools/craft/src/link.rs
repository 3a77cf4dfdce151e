//! Link headers: everything in front of an IP packet.

/// Link types of captures, by their LINKTYPE number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// BSD loopback: address family in the writer's byte order (ours: little-endian).
    Null,
    /// Ethernet.
    Ethernet,
    /// Bare IPv4 or IPv6.
    Raw,
    /// OpenBSD loopback: address family in network byte order.
    Loop,
    /// Linux cooked, version 1.
    Sll,
    /// Linux cooked, version 2.
    Sll2,
}

impl LinkType {
    /// All link types.
    pub const ALL: [Self; 6] = [
        Self::Null,
        Self::Ethernet,
        Self::Raw,
        Self::Loop,
        Self::Sll,
        Self::Sll2,
    ];

    /// The LINKTYPE number in a capture.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::Sll => 113,
            Self::Sll2 => 276,
        }
    }

    /// The link type with this LINKTYPE number, if [`LinkType`] has it.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|link| u32::from(link.number()) == number)
    }
}

/// The link headers of an IP packet. Tags, PPPoE and MPLS need a link with an `EtherType`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The outermost header.
    pub kind: LinkType,
    /// VLAN tags, outermost first: (TPID, tag control information).
    pub vlans: Vec<(u16, u16)>,
    /// PPPoE session number.
    pub pppoe: Option<u16>,
    /// MPLS labels, outermost first.
    pub mpls: Vec<u32>,
    /// Last byte of the sender's and the receiver's MAC address.
    pub macs: (u8, u8),
}

impl Link {
    /// A plain header of this kind.
    #[must_use]
    pub fn new(kind: LinkType) -> Self {
        Self {
            kind,
            vlans: Vec::new(),
            pppoe: None,
            mpls: Vec::new(),
            macs: (1, 2),
        }
    }

    /// Plain Ethernet.
    #[must_use]
    pub fn ethernet() -> Self {
        Self::new(LinkType::Ethernet)
    }

    /// Adds an 802.1Q tag inside those already there.
    #[must_use]
    pub fn vlan(self, vlan: u16) -> Self {
        self.tag(0x8100, vlan)
    }

    /// Adds a tag with any TPID (0x88A8 for a service tag) inside those already there.
    #[must_use]
    pub fn tag(mut self, tpid: u16, tci: u16) -> Self {
        self.vlans.push((tpid, tci));
        self
    }

    /// QinQ as 802.1ad has it: a service tag and a customer tag.
    #[must_use]
    pub fn qinq(self, outer: u16, inner: u16) -> Self {
        self.tag(0x88A8, outer).tag(0x8100, inner)
    }

    /// Puts the packet into a PPPoE session.
    #[must_use]
    pub fn pppoe(mut self, session: u16) -> Self {
        self.pppoe = Some(session);
        self
    }

    /// Adds an MPLS label inside those already there.
    #[must_use]
    pub fn mpls(mut self, label: u32) -> Self {
        self.mpls.push(label);
        self
    }

    /// The link headers of the opposite direction.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.macs = (self.macs.1, self.macs.0);
        self
    }

    /// The frame around an IP packet.
    #[must_use]
    pub fn frame(&self, ip: &[u8]) -> Vec<u8> {
        let v6 = ip.first().is_some_and(|first| first >> 4 == 6);
        let ip_type: u16 = if v6 { 0x86DD } else { 0x0800 };
        match self.kind {
            LinkType::Raw => return ip.to_vec(),
            LinkType::Null => return [&[if v6 { 30 } else { 2 }, 0, 0, 0], ip].concat(),
            LinkType::Loop => return [&[0, 0, 0, if v6 { 30 } else { 2 }], ip].concat(),
            LinkType::Ethernet | LinkType::Sll | LinkType::Sll2 => {}
        }
        let inner_type = match (self.pppoe, self.mpls.is_empty()) {
            (Some(_), _) => 0x8864,
            (None, false) => 0x8847,
            (None, true) => ip_type,
        };
        let first_type = self.vlans.first().map_or(inner_type, |&(tpid, _)| tpid);
        let mut out = self.outer(first_type);
        for (i, &(_, tci)) in self.vlans.iter().enumerate() {
            out.extend(tci.to_be_bytes());
            out.extend(
                self.vlans
                    .get(i + 1)
                    .map_or(inner_type, |&(tpid, _)| tpid)
                    .to_be_bytes(),
            );
        }
        self.inner(&mut out, v6, ip.len());
        out.extend(ip);
        out
    }

    fn outer(&self, ether_type: u16) -> Vec<u8> {
        let (from, to) = self.macs;
        let [high, low] = ether_type.to_be_bytes();
        match self.kind {
            LinkType::Sll => {
                vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, from, 0, 0, high, low]
            }
            LinkType::Sll2 => {
                vec![
                    high, low, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, from, 0, 0,
                ]
            }
            _ => vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, high, low],
        }
    }

    /// PPPoE header or MPLS labels. With both set, PPPoE is written: nobody sends both.
    fn inner(&self, out: &mut Vec<u8>, v6: bool, ip_len: usize) {
        if let Some(session) = self.pppoe {
            out.extend([0x11, 0]);
            out.extend(session.to_be_bytes());
            out.extend(
                u16::try_from(ip_len + 2)
                    .expect("fits a packet")
                    .to_be_bytes(),
            );
            out.extend([0, if v6 { 0x57 } else { 0x21 }]);
            return;
        }
        for (i, label) in self.mpls.iter().enumerate() {
            let bottom = u32::from(i + 1 == self.mpls.len());
            out.extend((label << 12 | bottom << 8 | 64).to_be_bytes());
        }
    }
}
