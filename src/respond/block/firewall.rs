//! What the sensor asks of a firewall, and what the firewall answers. The policy (`super`) decides; a backend carries out.

use ipnet::IpNet;

/// One wish of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Drops packets of `net` for `for_s` seconds from now on; again: the time starts anew.
    Add { net: IpNet, for_s: u32 },
    /// Lets `net` in again.
    Remove { net: IpNet },
    /// Lets everybody in again.
    Flush,
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The backend's own check: never blocked (loopback, multicast, unspecified, own address, too short a prefix).
    Protected,
    /// The kernel's set is full.
    Full,
    /// The kernel said no; its error number.
    Kernel(i32),
    /// The helper process is gone; orders are sent again when it is back, unless [`Firewall::is_over`].
    Gone,
}

/// An answer, in the order of the orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub order: Order,
    pub result: Result<(), Refused>,
}

/// A blocked address or prefix as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    pub net: IpNet,
    /// Seconds left.
    pub expires_s: u32,
    /// Packets and bytes dropped, where the kernel counts them.
    pub dropped: Option<(u64, u64)>,
}

/// A kernel firewall. No method waits.
pub trait Firewall: Send {
    /// Hands over orders. What does not fit is not taken: returns how many were.
    fn order(&mut self, orders: &[Order]) -> usize;
    /// Asks for all elements; they come with [`Firewall::poll`] as [`Heard::Elements`].
    fn ask(&mut self);
    /// Asks what these elements have dropped, before any order that is handed over later; it comes as [`Heard::Counted`]
    /// of those that are there. Who counts nothing does nothing.
    fn count(&mut self, _nets: &[IpNet]) {}
    /// Whether it carries out nothing more in this run: it answers every order with [`Refused::Gone`].
    fn is_over(&self) -> bool {
        false
    }
    /// What has come since.
    fn poll(&mut self, heard: &mut dyn FnMut(Heard));
    /// At the end of the run: waits at most `ms` milliseconds for open answers; `keep`: the elements stay in the kernel.
    /// False: it has not answered, and the elements may be there.
    fn close(&mut self, keep: bool, ms: u32) -> bool;
}

/// What a firewall reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Answer(Answer),
    /// What an element has dropped so far, packets and bytes.
    Counted {
        net: IpNet,
        dropped: (u64, u64),
    },
    /// All elements, asked for or found at the start (adopted from an earlier run).
    Elements(Vec<Element>),
    /// Something happened that an operator must read: the table was removed by somebody and built again, the helper ended
    /// and was started again, owner flags are not there. One sentence.
    Notice(String),
}
