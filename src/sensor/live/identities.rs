//! Reports identities of the books when they stop or start to hold.

use super::messenger::Messenger;
use crate::books::Books;
use crate::counters::Identity;
use serde_json::json;

/// Names of the identities that do not hold.
#[derive(Debug, Default)]
pub(super) struct OpenIdentities(Vec<String>);

impl OpenIdentities {
    /// Records identities that stopped or started to hold since the last call.
    pub(super) fn update(&mut self, books: &Books, messenger: &Messenger) {
        for identity in books.identities() {
            let known = self.0.iter().position(|name| *name == identity.name);
            match (known, identity.holds()) {
                (Some(place), true) => drop(self.0.swap_remove(place)),
                (None, false) => self.0.push(identity.name.clone()),
                _ => continue,
            }
            let (word, what) = match known {
                Some(_) => ("books_closed", "holds again"),
                None => ("books_open", "does not hold"),
            };
            let Identity {
                name, left, right, ..
            } = identity;
            let text = format!("{name} {what}: {left} against {right}");
            let details = [
                ("identity", json!(name)),
                ("left", json!(left)),
                ("right", json!(right)),
            ];
            messenger.record_with(word, text, details);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::notice::{Notice, Notices};

    #[test]
    fn an_identity_that_opens_is_reported_once_and_again_when_it_closes() {
        let (notices, records) = Notices::channel();
        let messenger = Messenger::new(notices, true);
        let mut open = OpenIdentities::default();
        let mut books = Books::default();
        let mut reported = |books: &Books| -> Vec<(&'static str, String)> {
            open.update(books, &messenger);
            let parts = |notice| match notice {
                Notice::Lifecycle { word, text, .. } => (word, text),
                Notice::Stats { .. } | Notice::Block(_) => panic!("no lifecycle"),
            };
            records.try_iter().map(parts).collect()
        };
        assert_eq!(reported(&books), []);
        books.shards.flow.syn_packets = 3;
        books.shards.contacts_sent[0] = 3;
        books.in_flight.contacts = 3;
        let name = "syn_packets = new_connections + syn_retransmitted + syn_other_interface";
        let text = format!("{name} does not hold: 3 against 0");
        assert_eq!(reported(&books), [("books_open", text)]);
        assert_eq!(reported(&books), []);
        books.shards.flow.syn_retransmitted = 3;
        let text = format!("{name} holds again: 3 against 3");
        assert_eq!(reported(&books), [("books_closed", text)]);
        assert_eq!(reported(&books), []);
    }
}
