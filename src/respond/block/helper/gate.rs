//! What a request may do: every field is checked again in the helper.

use super::protected::is_protected;
use super::protocol::{Request, decode_requests};
use crate::respond::block::firewall::{Order, Refused};
use ipnet::IpNet;
use std::net::IpAddr;

/// The longest time of a block: 366 days.
pub const FOR_S_MAX: u32 = 366 * 24 * 3_600;

/// A request that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// May be carried out.
    Order { id: u64, order: Order },
    /// Must not be carried out.
    Refused { id: u64, why: Refused },
    /// Asks for all elements.
    Ask,
    /// Asks what an element has dropped, which anybody may.
    Count { net: IpNet },
    /// The end of the run.
    Close { keep: bool },
}

/// The datagram was never written by a sensor. Nothing of it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes and checks a datagram; `own`: the addresses of this host now. Requests of another epoch are left out.
///
/// # Errors
///
/// [`Malformed`].
pub fn check(datagram: &[u8], epoch: u32, own: &[IpAddr]) -> Result<Vec<Checked>, Malformed> {
    let (theirs, requests) = decode_requests(datagram).ok_or(Malformed)?;
    if theirs != epoch {
        return Ok(Vec::new());
    }
    let checked = requests.into_iter().map(|request| match request {
        Request::Order { id, order } => match refusal(order, own) {
            Some(why) => Checked::Refused { id, why },
            None => Checked::Order { id, order },
        },
        Request::Ask => Checked::Ask,
        Request::Count { net } => Checked::Count { net },
        Request::Close { keep } => Checked::Close { keep },
    });
    Ok(checked.collect())
}

fn refusal(order: Order, own: &[IpAddr]) -> Option<Refused> {
    match order {
        Order::Add { net, .. } if is_protected(net, own) => Some(Refused::Protected),
        Order::Add { for_s, .. } if !(1..=FOR_S_MAX).contains(&for_s) => {
            Some(Refused::Kernel(libc::ERANGE))
        }
        _ => None,
    }
}
