//! The security tag of MACsec, followed where only integrity is protected.

use super::rest::Rest;
use super::unread::{MalformedCause, NotIpCause, Unread};

/// The version; 0 is the only one.
const VERSION: u8 = 0x80;
/// The 8 bytes of a secure channel identifier follow.
const HAS_CHANNEL: u8 = 0x20;
/// The data are encrypted, or changed by the cipher.
const ENCRYPTED: u8 = 0x08;
const CHANGED: u8 = 0x04;

/// Flags, short length, packet number.
const TAG: usize = 6;
const CHANNEL: usize = 8;
/// The integrity check value at the frame's end, of every cipher suite of the standard.
const CHECK: usize = 16;

/// Passes the tag: the protected data, which start with an EtherType.
///
/// The check value is no part of the bytes on the wire, so that it is no payload. It stays among the captured ones: a
/// device may have removed it, and then these are the packet's.
///
/// The short length is ignored, as in tshark: an IP packet has a length of its own.
///
/// # Errors
///
/// [`NotIpCause::Encrypted`]; [`NotIpCause::Ethertype`] for another version; a tag that is cut.
///
/// Source: IEEE 802.1AE, clause 9.
pub(super) fn macsec(rest: Rest<'_>) -> Result<Rest<'_>, Unread> {
    let [flags, _] = rest.array(0).ok_or(MalformedCause::TruncatedLink)?;
    if flags & VERSION != 0 {
        return Err(NotIpCause::Ethertype.into());
    }
    if flags & (ENCRYPTED | CHANGED) != 0 {
        return Err(NotIpCause::Encrypted.into());
    }
    let len = match flags & HAS_CHANNEL {
        0 => TAG,
        _ => TAG + CHANNEL,
    };
    let data = rest.skip(len).ok_or(MalformedCause::TruncatedLink)?;
    let wire = data.wire.saturating_sub(CHECK);
    Ok(Rest { wire, ..data })
}
