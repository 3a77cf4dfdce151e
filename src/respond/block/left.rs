//! What an earlier run left in the kernel, by every way to block: found and changed without a sensor.

use super::METHODS;
use super::helper::{Incident, Left, Method, Unbuilt, holds};
use crate::words::many;
use std::io;

/// What one way to block has in the kernel.
pub struct Found {
    pub method: &'static Method,
    pub left: Box<dyn Left>,
}

/// Finds all of it. Also returns a sentence about each way to block whose part cannot be read.
///
/// # Errors
///
/// What this process needs, where it may read nothing.
pub fn find() -> Result<(Vec<Found>, Vec<String>), String> {
    let (may, may_not): (Vec<_>, Vec<_>) = METHODS
        .into_iter()
        .partition(|method| holds(method.capabilities));
    if may.is_empty() {
        let needs = METHODS.map(|method| format!("{} for {}", method.sentences.needs, method.word));
        return Err(format!("root, or {}", needs.join(", ")));
    }
    let (mut found, mut troubles) = (Vec::new(), Vec::new());
    for method in may_not {
        troubles.push(format!(
            "{}: what is left cannot be read without {}",
            method.word, method.sentences.needs
        ));
    }
    for method in may {
        match (method.left)() {
            Ok(Some(left)) => {
                let unread = left.unread().into_iter();
                troubles.extend(unread.map(|text| trouble(method, Unbuilt::Because(text))));
                found.push(Found { method, left });
            }
            Ok(None) => {}
            Err(why) => troubles.push(trouble(method, why)),
        }
    }
    Ok((found, troubles))
}

/// A sentence about each way to block but the one of this word that has blocks here which no process has, so that no
/// sensor knows them. What this process may not read is left out.
pub fn others(word: &str) -> Vec<String> {
    let blocks = |method: &'static Method| {
        let mut left = (method.left)().ok()??;
        let is_free = left.owner().ok()?.is_none();
        let count = left.list().ok()?.len();
        (is_free && count > 0).then(|| {
            format!(
                "{}: an earlier sensor left {} in the kernel, which the one of now does not have: `synledger block list \
                 --socket none` lists what was left, `synledger block flush --socket none` removes it",
                method.word,
                many(count, "block")
            )
        })
    };
    let others = METHODS.into_iter().filter(|method| method.word != word);
    let may = others.filter(|method| holds(method.capabilities));
    may.filter_map(blocks).collect()
}

fn trouble(method: &Method, why: Unbuilt) -> String {
    let what = match why {
        Unbuilt::Foreign => (method.sentences.of)(Incident::Foreign),
        Unbuilt::Kernel(errno) => io::Error::from_raw_os_error(errno).to_string(),
        Unbuilt::Because(text) | Unbuilt::Busy(text) => text,
    };
    format!("{}: what is left cannot be read: {what}", method.word)
}
