//! Names that are left of other network namespaces.

use super::elements::NAMES;
use super::hooks::is_detached;
use super::pins::Pins;
use crate::words::many;

/// Removes folders of other network namespaces that drop nothing any more: no worker uses them, and all of their links are at
/// no interface, as after the end of their namespace. Returns a sentence about those that stay.
pub fn remove_stale(own: &Pins) -> Option<String> {
    let mut left = Vec::new();
    for other in own.others() {
        match other {
            Ok(pins) => match removable(&pins) {
                Some(names) => {
                    names.iter().for_each(|name| drop(pins.remove(name)));
                    pins.remove_folder();
                }
                None => left.push(pins.folder().to_path_buf()),
            },
            Err(path) => left.push(path),
        }
    }
    let first = left.first()?.display();
    let folders = many(left.len(), "other network namespace");
    Some(format!(
        "{folders} left names of XDP programs that may drop packets still, such as {first}: they stay"
    ))
}

/// All names of a folder, if all are known and no program is at an interface.
fn removable(pins: &Pins) -> Option<Vec<String>> {
    let names = pins.names().ok()?;
    let is_idle = |name: &String| NAMES.contains(&name.as_str()) || is_detached(name, pins);
    names.iter().all(is_idle).then_some(names)
}
