//! What surrounds the watched interfaces: programs, drivers, and devices that packets may pass instead.

use crate::host::nic::{self, Driver, Flowtable, Interface, Relation, Xdp};
use std::path::Path;

/// Where packets may pass unseen.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// All interfaces of the namespace.
    pub(super) relations: Vec<Relation>,
    /// Flowtables that hardware executes; `None`: the kernel does not say without CAP_NET_ADMIN.
    pub(super) flowtables: Option<Vec<Flowtable>>,
    /// Of each watched interface, in their order.
    pub(super) xdp: Vec<Xdp>,
    pub(super) drivers: Vec<Driver>,
    /// It can do RDMA.
    pub(super) rdma: Vec<bool>,
}

impl Paths {
    /// Asks about these interfaces.
    pub fn of(watched: &[&Interface]) -> Self {
        let each = || watched.iter().map(|nic| nic.name.as_str());
        let rdma = |name: &str| {
            let folder = Path::new("/sys/class/net").join(name);
            folder.join("device/infiniband").exists()
        };
        Self {
            relations: nic::relations().unwrap_or_default(),
            flowtables: nic::hardware_flowtables().ok(),
            xdp: watched.iter().map(|nic| nic::xdp(nic.ifindex)).collect(),
            drivers: each().map(nic::driver).collect(),
            rdma: each().map(rdma).collect(),
        }
    }
}
