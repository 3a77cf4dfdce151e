//! Why a frame could not be read. `Copy`, one byte: it is counted, not printed.

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// The one reason for which a frame ends here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Unread {
            $($(#[doc = $doc])* $name,)*
        }

        impl Unread {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable word, in every output.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

causes! {
    /// ARP or RARP: not IP.
    Arp = "arp",
    /// Another protocol than IP in the link layer.
    OtherEthertype = "other_ethertype",
    /// A link type that we do not read.
    LinkType = "link_type",
    /// More VLAN tags or MPLS labels than anyone stacks.
    TooManyTags = "too_many_tags",
    /// The frame ends inside its link layer.
    TruncatedLink = "truncated_link",
    /// The frame ends inside its IP header.
    TruncatedIp = "truncated_ip",
    /// The IP version is not the one that the link layer promises, or neither 4 nor 6.
    BadIpVersion = "bad_ip_version",
    /// The IPv4 header claims less than 20 bytes.
    BadIpHeaderLen = "bad_ip_header_len",
    /// The IPv4 total length is smaller than the header.
    BadIpTotalLen = "bad_ip_total_len",
    /// The frame ends inside an IPv6 extension header, or there is no end to them.
    BadExtension = "bad_extension",
    /// The packet ends inside its TCP header.
    TruncatedTcp = "truncated_tcp",
    /// The TCP data offset is below 5 words.
    BadTcpDataOffset = "bad_tcp_data_offset",
    /// The packet ends inside its UDP header.
    TruncatedUdp = "truncated_udp",
    /// The packet ends inside its ICMP header.
    TruncatedIcmp = "truncated_icmp",
    /// A first fragment too short to say anything.
    TruncatedFragment = "truncated_fragment",
}

impl Unread {
    /// Its place in an array of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// Not IP, rather than malformed.
    pub fn is_not_ip(self) -> bool {
        matches!(self, Self::Arp | Self::OtherEthertype | Self::LinkType)
    }
}
