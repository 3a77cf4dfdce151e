//! The table as the backend of a worker.

use super::left;
use super::nfnetlink::Changes;
use super::notices::sentence;
use super::objects::is_about_us;
use super::table::{Setup, Table};
use crate::respond::block::firewall::{Element, Order, Refused};
use crate::respond::block::helper::{Backend, Incident, Method, Said, Sentences, Start, Unbuilt};
use caps::Capability;
use ipnet::IpNet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

const OWN: &str = "own";
const WATCH: &str = "watch";
const OLD: &str = "old";

/// Blocking by nftables.
pub static METHOD: Method = Method {
    word: left::WORD,
    capabilities: &[Capability::CAP_NET_ADMIN],
    optional: &[],
    prepare: || false,
    takes: |words| Kernel::parse(words).is_some(),
    open: |elements_max, words| {
        let kernel = Kernel::parse(words).ok_or(io::ErrorKind::InvalidInput)?;
        let limits = Limits {
            elements_max,
            kernel,
        };
        Ok(Box::new(Nft {
            table: Table::open(limits.setup())?,
            changes: None,
            said: Vec::new(),
        }))
    },
    left: left::find,
    sentences: Sentences {
        of: sentence,
        built: "the table inet synledger is built now",
        left: ": the table inet synledger may still be there",
        needs: "CAP_NET_ADMIN",
    },
};

/// What a helper is told at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most elements of all sets together: 1 to [`ELEMENTS_MAX`].
    ///
    /// [`ELEMENTS_MAX`]: crate::respond::block::helper::ELEMENTS_MAX
    pub elements_max: u32,
    /// What the kernel may be asked for.
    pub kernel: Kernel,
}

/// Which features of the kernel are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// All that it has.
    Whole,
    /// No owner flags, as before Linux 6.9.
    WithoutOwner,
    /// Neither these nor a new time for known elements, as before Linux 6.12.
    Old,
}

impl Kernel {
    fn word(self) -> &'static str {
        match self {
            Self::Whole => OWN,
            Self::WithoutOwner => WATCH,
            Self::Old => OLD,
        }
    }

    fn parse(words: &[String]) -> Option<Self> {
        let [word] = words else { return None };
        let all = [Self::Whole, Self::WithoutOwner, Self::Old];
        all.into_iter().find(|kernel| kernel.word() == word)
    }
}

impl From<Limits> for Start {
    fn from(limits: Limits) -> Self {
        Self {
            method: &METHOD,
            elements_max: limits.elements_max,
            words: vec![limits.kernel.word().to_owned()],
        }
    }
}

impl Limits {
    fn setup(self) -> Setup {
        Setup {
            elements_max: self.elements_max,
            may_own: self.kernel == Kernel::Whole,
            refreshes: self.kernel != Kernel::Old && kernel_refreshes(),
        }
    }
}

/// Whether this is Linux 6.12 or later.
fn kernel_refreshes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|word| word.trim().parse());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6_u32, 12_u32),
        _ => false,
    }
}

struct Nft {
    table: Table,
    /// Without owner flags.
    changes: Option<Changes>,
    said: Vec<Said>,
}

impl Backend for Nft {
    fn adopt(
        &mut self,
        is_protected: &dyn Fn(IpNet) -> bool,
        now_ns: i64,
    ) -> Result<Option<usize>, Unbuilt> {
        let found = self.table.find()?;
        let mut elements = found.clone().unwrap_or_default();
        elements.retain(|element| !is_protected(element.net));
        self.table.build(elements, now_ns)?;
        if !self.table.features().owner {
            self.said.push(Said::Incident(Incident::NoOwner));
            // Subscribed after the build: a change before the subscription is found by the first order.
            self.changes = self.table.watch().ok();
        }
        Ok(found.map(|_| self.table.len()))
    }

    fn repair(&mut self, now_ns: i64) -> Result<(), Unbuilt> {
        self.table.repair(now_ns)
    }

    fn apply(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>> {
        self.table.apply(orders, now_ns)
    }

    fn list(&mut self) -> io::Result<Vec<Element>> {
        self.table.list()
    }

    fn counted(&mut self, net: IpNet) -> Option<(u64, u64)> {
        self.table.counted(net)
    }

    fn matching(&self, is: &dyn Fn(IpNet) -> bool) -> Vec<IpNet> {
        self.table.matching(is)
    }

    fn count(&self) -> usize {
        self.table.len()
    }

    fn close(&mut self, keep: bool) -> Result<(), i32> {
        match keep {
            true => Ok(()),
            false => self.table.remove().map_err(|aborted| aborted.errno()),
        }
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(AsFd::as_fd)
    }

    fn has_changed(&mut self) -> bool {
        let changes = self.changes.as_mut();
        changes.is_some_and(|changes| changes.take(is_about_us))
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}
