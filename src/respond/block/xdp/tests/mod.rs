//! The program on crafted frames against a plain rule, the maps against what was put there.
//!
//! They need CAP_BPF and CAP_NET_ADMIN, and say `skipped` without.

mod elements;
mod twin;

use super::elements::{Elements, Value};
use crate::time::clock::monotonic_ns;
use ipnet::IpNet;

const HOUR_NS: i64 = 3_600_000_000_000;

/// New maps with room for so many elements each; `None`, and said, where the kernel makes none.
fn maps(elements_max: u32) -> Option<Elements> {
    let made =
        Elements::make(0, elements_max).and_then(|v4| Ok([v4, Elements::make(1, elements_max)?]));
    match made {
        Ok(maps) => Some(Elements::of(maps)),
        Err(error) => {
            eprintln!("skipped: no maps: {error}");
            None
        }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// A value that ends in an hour, or has ended.
fn value(is_live: bool) -> Value {
    let end_ns = match is_live {
        true => monotonic_ns() + HOUR_NS,
        false => 1,
    };
    Value {
        end_ns,
        dropped: (0, 0),
    }
}
