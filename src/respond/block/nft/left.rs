//! The table as an earlier run left it.

use super::objects::Held;
use super::table::{Setup, Table};
use crate::respond::block::firewall::{Order, Refused};
use crate::respond::block::helper::{
    self, ELEMENTS_MAX, FoundLeft, LeftElement, Unbuilt, alive, process,
};
use crate::time::clock::monotonic_ns;
use ipnet::IpNet;
use std::io;
use std::path::Path;

/// Of the method.
pub const WORD: &str = "nft";

struct Left(Table);

/// Finds a table of our name.
pub fn find() -> FoundLeft {
    let setup = Setup {
        elements_max: ELEMENTS_MAX,
        // Who removes a few elements does not become the owner, and adds none.
        may_own: false,
        refreshes: false,
    };
    let found = Table::open(setup).map_err(Unbuilt::from);
    let found = found.and_then(|mut table| Ok(table.find()?.map(|_| table)));
    match found {
        Ok(table) => Ok(table.map(|table| Box::new(Left(table)) as Box<dyn helper::Left>)),
        // A kernel without nftables has no table; another one may lose it just now.
        Err(Unbuilt::Kernel(
            libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT,
        )) => Ok(None),
        Err(why) => Err(why),
    }
}

impl helper::Left for Left {
    fn owner(&mut self) -> io::Result<Option<String>> {
        let Some(found) = self.0.found()? else {
            return Ok(None);
        };
        Ok(match found.held {
            // The kernel takes the number of the process for the first socket of it.
            Held::By(port) if Path::new(&format!("/proc/{port}")).exists() => Some(process(port)),
            Held::By(port) => Some(format!("the process of the netlink port {port}")),
            Held::NoMore => None,
            Held::Never => alive(WORD),
        })
    }

    fn list(&mut self) -> io::Result<Vec<LeftElement>> {
        self.0.list_all()
    }

    fn let_in(&mut self, nets: &[IpNet]) -> Vec<Result<(), Refused>> {
        let orders: Vec<Order> = nets.iter().map(|&net| Order::Remove { net }).collect();
        self.0.know(nets);
        self.0.apply(&orders, monotonic_ns())
    }

    fn remove(&mut self) -> Result<(), String> {
        let removed = self.0.remove();
        removed.map_err(|aborted| io::Error::from_raw_os_error(aborted.errno()).to_string())
    }
}
