//! Maps and hooks as an earlier run left them.

use super::elements::{Elements, NAMES};
use super::hooks::remove_left;
use super::pins::{NoPins, Pins};
use crate::respond::block::firewall::{Element, Refused};
use crate::respond::block::helper::{self, FoundLeft, LeftElement, Unbuilt, alive};
use crate::sys::bpf::Map;
use crate::time::clock::monotonic_ns;
use crate::words::many;
use ipnet::IpNet;
use std::io;

/// Of the method.
pub const WORD: &str = "xdp";

struct Left {
    elements: Elements,
    /// Names of our maps that others have.
    foreign: Vec<&'static str>,
    pins: Pins,
}

/// Finds maps and hooks by their names.
pub fn find() -> FoundLeft {
    let pins = match Pins::left() {
        Ok(Some(pins)) => pins,
        Ok(None) | Err(NoPins::Locked) => return Ok(None),
        Err(NoPins::Foreign(path)) => {
            let path = path.display();
            return Err(Unbuilt::Because(format!("{path} belongs to somebody else")));
        }
        Err(NoPins::Missing(why)) => return Err(Unbuilt::Because(why)),
    };
    let mut foreign = Vec::new();
    let mut map = |family: usize| -> io::Result<Map> {
        let path = pins.path(NAMES[family]);
        let found = Elements::pinned(&path, family);
        if found.is_none() && path.exists() {
            foreign.push(NAMES[family]);
        }
        // In the place of one that is missing, an empty one that ends with this process.
        found.map_or_else(|| Elements::make(family, 1), Ok)
    };
    let elements = Elements::of([map(0)?, map(1)?]);
    Ok(Some(Box::new(Left {
        elements,
        foreign,
        pins,
    })))
}

impl Left {
    fn remove_names(&self) -> io::Result<()> {
        remove_left(&self.pins)?;
        for name in NAMES.iter().filter(|name| !self.foreign.contains(name)) {
            self.pins.remove(name)?;
        }
        self.pins.remove_folder();
        Ok(())
    }
}

impl helper::Left for Left {
    fn unread(&self) -> Vec<String> {
        let sentence = |name: &&str| {
            let path = self.pins.path(name);
            format!("{} is no map of this program", path.display())
        };
        self.foreign.iter().map(sentence).collect()
    }

    fn owner(&mut self) -> io::Result<Option<String>> {
        let of = || alive(WORD).unwrap_or_else(|| "another process".to_owned());
        Ok((!self.pins.share()?).then(of))
    }

    fn list(&mut self) -> io::Result<Vec<LeftElement>> {
        let left = |(_, element): (i64, Element)| LeftElement {
            net: element.net,
            left_s: Some(u64::from(element.expires_s)),
            dropped: element.dropped,
        };
        let alive = self.elements.alive(monotonic_ns())?;
        Ok(alive.into_iter().map(left).collect())
    }

    fn let_in(&mut self, nets: &[IpNet]) -> Vec<Result<(), Refused>> {
        let removed = self.elements.remove(nets).into_iter();
        removed.map(|one| one.map_err(Refused::Kernel)).collect()
    }

    fn remove(&mut self) -> Result<(), String> {
        // A program lives on if its link has no name that is ours: with empty maps it drops nothing.
        let emptied = self.elements.remove_all();
        let emptied = emptied.and_then(|all| all.map_err(io::Error::from_raw_os_error));
        let removed = emptied.and_then(|()| self.remove_names());
        removed.map_err(|error| error.to_string())?;
        let names = self.pins.names().unwrap_or_default();
        let Some(first) = names.first() else {
            return Ok(());
        };
        let first = self.pins.path(first);
        Err(format!(
            "all else was removed, but {} of other programs stays, such as {}",
            many(names.len(), "name"),
            first.display()
        ))
    }
}
