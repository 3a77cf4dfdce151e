//! Names of the run's interfaces.

use super::append;
use super::piece::{EMPTY, Piece};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Names by the index that records carry. Clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Interfaces(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    names: RwLock<Vec<String>>,
    /// Number of renames; changes under the lock.
    renames: AtomicU64,
}

impl Interfaces {
    /// A table with these names from index 0 on.
    pub fn new(names: Vec<String>) -> Self {
        Self(Arc::new(Table {
            names: RwLock::new(names),
            renames: AtomicU64::new(0),
        }))
    }

    /// Adds a name; returns its index, or `None` once 65,536 are taken.
    pub fn push(&self, name: String) -> Option<u16> {
        let mut names = self.0.names.write().unwrap_or_else(PoisonError::into_inner);
        let index = u16::try_from(names.len()).ok()?;
        names.push(name);
        Some(index)
    }

    /// The name of an index, if there is one.
    pub fn name(&self, index: u16) -> Option<String> {
        let names = self.0.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(usize::from(index)).cloned()
    }

    /// Changes the name of an index.
    pub fn rename(&self, index: u16, name: &str) {
        let mut names = self.0.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = names.get_mut(usize::from(index)) {
            name.clone_into(old);
            // Release pairs with the Acquire in `Rendered::name`, which then takes the lock and sees the name.
            self.0.renames.fetch_add(1, Ordering::Release);
        }
    }
}

/// Rendered names, cached until one changes.
#[derive(Clone, Debug)]
pub struct Rendered {
    interfaces: Interfaces,
    render: fn(&str) -> Vec<u8>,
    renames: u64,
    rendered: Vec<Piece>,
}

impl Rendered {
    /// These names as members of an EVE record: `,"in_iface":"eth0"`.
    pub fn members(interfaces: Interfaces) -> Self {
        Self::new(interfaces, |name| {
            let mut member = b",\"in_iface\":".to_vec();
            append::json_string(&mut member, name);
            member
        })
    }

    /// The same of a responder: `,"in_iface_resp":"eth1"`.
    pub fn members_of_responders(interfaces: Interfaces) -> Self {
        Self::new(interfaces, |name| {
            let mut member = b",\"in_iface_resp\":".to_vec();
            append::json_string(&mut member, name);
            member
        })
    }

    /// These names as they are.
    pub fn plain(interfaces: Interfaces) -> Self {
        Self::new(interfaces, |name| name.as_bytes().to_vec())
    }

    /// These names as words of a line: a blank or control character in one becomes `_`.
    pub fn words(interfaces: Interfaces) -> Self {
        Self::new(interfaces, |name| {
            let joins = |letter: char| letter.is_whitespace() || letter.is_control();
            name.replace(joins, "_").into_bytes()
        })
    }

    fn new(interfaces: Interfaces, render: fn(&str) -> Vec<u8>) -> Self {
        Self {
            interfaces,
            render,
            renames: 0,
            rendered: Vec::new(),
        }
    }

    /// The rendered name of this index; empty if it has none.
    #[inline]
    pub fn name(&mut self, index: u16) -> &Piece {
        let index = usize::from(index);
        let renamed = self.interfaces.0.renames.load(Ordering::Acquire) != self.renames;
        if renamed || index >= self.rendered.len() {
            self.renew();
        }
        self.rendered.get(index).unwrap_or(&EMPTY)
    }

    #[cold]
    fn renew(&mut self) {
        let table = &self.interfaces.0;
        let names = table.names.read().unwrap_or_else(PoisonError::into_inner);
        // Stable under the lock.
        let renames = table.renames.load(Ordering::Acquire);
        if self.renames != renames {
            self.renames = renames;
            self.rendered.clear();
        }
        let render = |name: &String| match name.as_str() {
            "" => EMPTY.clone(),
            name => Piece::new((self.render)(name)),
        };
        let new = names.iter().skip(self.rendered.len());
        self.rendered.extend(new.map(render));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_changes_is_seen_by_the_next_record() {
        let interfaces = Interfaces::new(vec!["eth0".into()]);
        let mut rendered = Rendered::members(interfaces.clone());
        assert_eq!(rendered.name(0).text(), b",\"in_iface\":\"eth0\"");
        assert_eq!(rendered.name(1).text(), b"");
        assert_eq!(interfaces.push(String::new()), Some(1));
        assert_eq!(interfaces.push("a\"b".into()), Some(2));
        assert_eq!(rendered.name(1).text(), b"");
        assert_eq!(rendered.name(2).text(), b",\"in_iface\":\"a\\\"b\"");
        interfaces.rename(0, "lan");
        interfaces.rename(9, "none");
        assert_eq!(rendered.name(0).text(), b",\"in_iface\":\"lan\"");
    }

    #[test]
    fn a_name_is_one_word_of_a_line() {
        let mut words = Rendered::words(Interfaces::new(vec!["Local Area\n2".into()]));
        assert_eq!(words.name(0).text(), b"Local_Area_2");
        assert_eq!(words.name(1).text(), b"");
    }

    #[test]
    fn there_are_no_more_indices_than_records_can_carry() {
        let interfaces = Interfaces::new(vec![String::new(); 65_535]);
        assert_eq!(interfaces.push("last".into()), Some(65_535));
        assert_eq!(interfaces.push("too many".into()), None);
    }
}
