//! Why a frame was not decoded: one counted reason per cause.

words! {
    /// The content of a sound frame without an IP packet.
    #[derive(Hash)]
    pub enum NotIpCause {
        /// Address resolution (EtherType 0x0806 or 0x8035).
        Arp = "arp",
        /// An EtherType that leads to no IP packet.
        Ethertype = "other_ethertype",
        /// IEEE 802.2 without IP: spanning tree, IS-IS, NetBIOS and the like.
        Llc = "llc",
        /// A PPP protocol other than IP: link control, authentication, compressed.
        Ppp = "ppp",
        /// MPLS without IP: pseudo-wires, operation and maintenance.
        Mpls = "mpls",
        /// MACsec with encryption.
        Encrypted = "encrypted",
        /// A frame of a BSD loopback or of netfilter's log, of another address family.
        Family = "other_family",
        /// A link type that is not decoded.
        LinkType = "unsupported_link",
    }
}

words! {
    /// Why a frame with a packet could not be decoded.
    #[derive(Hash)]
    pub enum MalformedCause {
        /// The frame ends inside its link header, a tag or a label, or a length there leads beyond its end.
        TruncatedLink = "truncated_link",
        /// More than 32 tags or 32 labels.
        TooManyTags = "too_many_tags",
        /// The bytes end inside the IP header.
        TruncatedIp = "truncated_ip",
        /// The version is neither 4 nor 6, or 4 where the link header says IPv6.
        BadIpVersion = "bad_ip_version",
        /// An IPv4 header length below 20 bytes.
        BadIpHeaderLen = "bad_ip_header_len",
        /// An IPv4 total length below its header length (0 is large-segment offload, not an error).
        BadIpTotalLen = "bad_ip_total_len",
        /// The bytes end inside an extension header, though the packet goes on.
        TruncatedExtension = "truncated_extension",
        /// An extension header that ends beyond its packet, or more than 256 of them.
        BadExtension = "bad_extension",
        /// Fewer bytes than reach the TCP flags (14).
        TruncatedTcp = "truncated_tcp",
        /// A TCP data offset below 20 bytes.
        BadTcpDataOffset = "bad_tcp_data_offset",
        /// Fewer than the 8 bytes of a UDP header.
        TruncatedUdp = "truncated_udp",
        /// A UDP length of 1 to 7.
        BadUdpLen = "bad_udp_len",
        /// Fewer than the 8 bytes of an ICMP header.
        TruncatedIcmp = "truncated_icmp",
        /// `--checksums verify`: a wrong checksum of an IPv4 header.
        BadIpChecksum = "bad_ip_checksum",
        /// `--checksums verify`: a wrong checksum of a TCP segment.
        BadTcpChecksum = "bad_tcp_checksum",
        /// `--checksums verify`: a wrong checksum of a UDP datagram, none in IPv6, or a datagram longer than its packet.
        BadUdpChecksum = "bad_udp_checksum",
    }
}

/// Why a frame gave no packet. `Copy`, two bytes: counted, not printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Unread {
    /// A sound frame that carries no IP packet.
    NotIp(NotIpCause),
    /// A frame that cannot be decoded.
    Malformed(MalformedCause),
}

impl Unread {
    /// Number of reasons.
    pub const COUNT: usize = NotIpCause::COUNT + MalformedCause::COUNT;

    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self::Malformed(MalformedCause::TruncatedLink); Self::COUNT];
        let mut i = 0;
        while i < NotIpCause::COUNT {
            all[i] = Self::NotIp(NotIpCause::ALL[i]);
            i += 1;
        }
        while i < Self::COUNT {
            all[i] = Self::Malformed(MalformedCause::ALL[i - NotIpCause::COUNT]);
            i += 1;
        }
        all
    };

    /// The reason's index in an array of [`Self::COUNT`] counters.
    pub const fn index(self) -> usize {
        match self {
            Self::NotIp(cause) => cause.index(),
            Self::Malformed(cause) => NotIpCause::COUNT + cause.index(),
        }
    }

    /// [`super::checksums::verify`] refused the frame.
    pub const fn is_checksum(self) -> bool {
        matches!(
            self,
            Self::Malformed(
                MalformedCause::BadIpChecksum
                    | MalformedCause::BadTcpChecksum
                    | MalformedCause::BadUdpChecksum
            )
        )
    }

    /// The frame ends within a header.
    pub const fn is_truncated(self) -> bool {
        matches!(
            self,
            Self::Malformed(
                MalformedCause::TruncatedLink
                    | MalformedCause::TruncatedIp
                    | MalformedCause::TruncatedExtension
                    | MalformedCause::TruncatedTcp
                    | MalformedCause::TruncatedUdp
                    | MalformedCause::TruncatedIcmp
            )
        )
    }

    /// The reason's stable name in metrics and records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotIp(cause) => cause.word(),
            Self::Malformed(cause) => cause.word(),
        }
    }
}

impl From<MalformedCause> for Unread {
    fn from(cause: MalformedCause) -> Self {
        Self::Malformed(cause)
    }
}

impl From<NotIpCause> for Unread {
    fn from(cause: NotIpCause) -> Self {
        Self::NotIp(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_word() {
        for (i, why) in Unread::ALL.iter().enumerate() {
            assert_eq!(why.index(), i);
        }
        let words: std::collections::HashSet<_> =
            Unread::ALL.iter().map(|why| why.word()).collect();
        assert_eq!(words.len(), Unread::COUNT);
    }
}
