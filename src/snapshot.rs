//! State that lives on in the next process: written as bytes, and read back into tables that are already there.
//!
//! Values are borsh's. Tables are not: they lie in huge pages that were written to at the start, and beside them lie
//! channels, keys and settings, which the successor has of its own. So [`Snapshot::restore`] fills what it is called on.
//! `snapshot!` names every field of a table, or does not compile. The layout of all that is written is in
//! [`layout_number`], so that no change of a field goes unnoticed.

use borsh::{BorshDeserialize, BorshSchema, BorshSerialize};
use siphasher::sip::SipHasher13;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::convert::identity;
use std::hash::Hasher as _;
use std::io::{self, ErrorKind, Read, Write};

/// Grows when the meaning of a field changes, but not its type.
const MEANING: u32 = 1;

/// A part of the state.
pub trait Snapshot {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// As `to`.
    fn save(&self, to: &mut dyn Write) -> io::Result<()>;

    /// Replaces it by what `from` has, which was written by another process with the same layout and settings.
    ///
    /// # Errors
    ///
    /// As `from`, or [`ErrorKind::InvalidData`]: it does not fit here. Part of it may be replaced.
    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()>;

    /// Adds names and types of all that is written.
    fn layout(layout: &mut Layout);
}

impl<T: BorshSerialize + BorshDeserialize + BorshSchema> Snapshot for T {
    fn save(&self, mut to: &mut dyn Write) -> io::Result<()> {
        self.serialize(&mut to)
    }

    fn restore(&mut self, mut from: &mut dyn Read) -> io::Result<()> {
        *self = T::deserialize_reader(&mut from)?;
        Ok(())
    }

    fn layout(layout: &mut Layout) {
        layout.add(format!("{:?}", borsh::schema_container_of::<T>()).as_bytes());
    }
}

/// Names and types of a state.
pub struct Layout(SipHasher13);

impl Layout {
    /// Adds a name, a type, or a size that is part of one.
    pub fn add(&mut self, part: &[u8]) {
        self.0.write_usize(part.len());
        self.0.write(part);
    }
}

/// A number for the layout of a state: equal only if another process reads what this one writes.
pub fn layout_number(add: impl FnOnce(&mut Layout)) -> u64 {
    let mut layout = Layout(SipHasher13::new());
    layout.add(&MEANING.to_ne_bytes());
    layout.add(&usize::BITS.to_ne_bytes());
    layout.add(std::env::consts::ARCH.as_bytes());
    add(&mut layout);
    layout.0.finish()
}

/// Why something does not fit.
pub fn misfit(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A list that keeps its memory: at most as many elements as it has room for.
pub trait List {
    /// What it holds.
    type Element: BorshSerialize + BorshDeserialize + BorshSchema;

    /// Writes length and elements.
    fn save_list(&self, to: &mut dyn Write) -> io::Result<()>;

    /// Replaces all elements.
    fn restore_list(&mut self, from: &mut dyn Read) -> io::Result<()>;
}

macro_rules! list {
    ($list:ty, $push:ident, $element:pat => $value:expr, $new:path $(, $bound:path)?) => {
        impl<T: BorshSerialize + BorshDeserialize + BorshSchema $(+ $bound)?> List for $list {
            type Element = T;

            fn save_list(&self, mut to: &mut dyn Write) -> io::Result<()> {
                (self.len() as u64).serialize(&mut to)?;
                self.iter().try_for_each(|$element| $value.serialize(&mut to))
            }

            fn restore_list(&mut self, mut from: &mut dyn Read) -> io::Result<()> {
                let len = u64::deserialize_reader(&mut from)?;
                if len > self.capacity() as u64 {
                    return Err(misfit("a list is longer than its room"));
                }
                self.clear();
                for _ in 0..len {
                    self.$push($new(T::deserialize_reader(&mut from)?));
                }
                Ok(())
            }
        }
    };
}
list!(Vec<T>, push, one => one, identity);
list!(VecDeque<T>, push_back, one => one, identity);
list!(BinaryHeap<Reverse<T>>, push, Reverse(one) => one, Reverse, Ord);

/// Adds a field's name and type.
pub fn add_field<S, F: Snapshot>(
    layout: &mut Layout,
    name: &str,
    _: impl for<'a> Fn(&'a S) -> &'a F,
) {
    layout.add(name.as_bytes());
    F::layout(layout);
}

/// The same for a [`List`].
pub fn add_list<S, L: List>(layout: &mut Layout, name: &str, _: impl for<'a> Fn(&'a S) -> &'a L) {
    layout.add(name.as_bytes());
    layout.add(b"list");
    L::Element::layout(layout);
}

/// Implements [`Snapshot`] for a struct: its generics, its type, and all its fields: `values` and [`List`]s, which live
/// on, and `fixed` ones, which the successor has of its own.
macro_rules! snapshot {
    (
        [$($generics:tt)*] $type:ty;
        $(values: $($value:ident),+;)?
        $(lists: $($list:ident),+;)?
        $(fixed: $($fixed:ident),+;)?
    ) => {
        impl<$($generics)*> $crate::snapshot::Snapshot for $type {
            fn save(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
                let Self { $($($value,)+)? $($($list,)+)? $($($fixed: _,)+)? } = self;
                $($( $crate::snapshot::Snapshot::save($value, to)?; )+)?
                $($( $crate::snapshot::List::save_list($list, to)?; )+)?
                Ok(())
            }

            fn restore(&mut self, from: &mut dyn std::io::Read) -> std::io::Result<()> {
                let Self { $($($value,)+)? $($($list,)+)? $($($fixed: _,)+)? } = self;
                $($( $crate::snapshot::Snapshot::restore($value, from)?; )+)?
                $($( $crate::snapshot::List::restore_list($list, from)?; )+)?
                Ok(())
            }

            fn layout(layout: &mut $crate::snapshot::Layout) {
                layout.add(stringify!($type).as_bytes());
                $($( $crate::snapshot::add_field(layout, stringify!($value), |all: &Self| &all.$value); )+)?
                $($( $crate::snapshot::add_list(layout, stringify!($list), |all: &Self| &all.$list); )+)?
            }
        }
    };
}
pub(crate) use snapshot;
