//! The host's nftables: the table `inet synledger`, over netlink.
//!
//! Its worker ([`crate::respond::block::helper`]) needs CAP_NET_ADMIN and nothing else.

mod attributes;
mod backend;
mod elements;
mod left;
mod nfnetlink;
mod notices;
mod objects;
mod set_key;
mod table;
#[cfg(test)]
mod tests;

use crate::host::netlink::Message;
use attributes::Batch;
use nfnetlink::{Aborted, Nfnetlink};
use objects::GETTABLE;
use std::io;

pub use backend::{Kernel, Limits, METHOD};

/// Whether the kernel has nftables: asks for our table, which need not be there. The kernel may load its module for that.
///
/// # Errors
///
/// EPROTONOSUPPORT, EOPNOTSUPP or EINVAL from a kernel without them; EPERM without CAP_NET_ADMIN.
pub fn probe() -> io::Result<()> {
    let mut kernel = Nfnetlink::open()?;
    let parse = |message: Message<'_>| objects::parse_table(message.body);
    kernel
        .get(GETTABLE, &objects::name_request(), parse)
        .map(drop)
}

/// Whether tables may have owners: tries it in a transaction that the kernel aborts, so that nothing is changed.
///
/// # Errors
///
/// As [`probe`].
pub fn has_owners() -> io::Result<bool> {
    probe()?;
    let mut kernel = Nfnetlink::open()?;
    let mut batch = Batch::new(kernel.next_sequence());
    let tried = objects::try_owner(&mut batch);
    match kernel.commit(batch) {
        Err(Aborted::Messages(refused)) => Ok(refused.iter().all(|(one, _)| *one != tried)),
        Err(Aborted::Whole(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Ok(()) => unreachable!("the same table cannot be made twice"),
    }
}
