//! Identities of the books that no longer hold, told once each.

use crate::books::Books;
use crate::counters::Identity;
use crate::log::notice::Notice;
use serde_json::Value;

/// Tells of identities that no longer hold, once each, and of those that hold again.
#[derive(Debug, Default)]
pub(super) struct OpenIdentities(Vec<String>);

impl OpenIdentities {
    /// What there is to say about the books of this moment, `ts_ns` by the wall clock.
    pub(super) fn notices(&mut self, books: &Books, ts_ns: i64) -> Vec<Notice> {
        let (closed, open): (Vec<Identity>, Vec<Identity>) =
            books.identities().into_iter().partition(Identity::holds);
        let mut notices = Vec::new();
        for identity in closed {
            if let Some(place) = self.0.iter().position(|name| *name == identity.name) {
                self.0.swap_remove(place);
                notices.push(turn("books_closed", &identity, ts_ns));
            }
        }
        for identity in open {
            if !self.0.contains(&identity.name) {
                notices.push(turn("books_open", &identity, ts_ns));
                self.0.push(identity.name);
            }
        }
        notices
    }
}

fn turn(word: &'static str, identity: &Identity, ts_ns: i64) -> Notice {
    let Identity {
        name, left, right, ..
    } = identity;
    let says = if word == "books_open" {
        "does not hold"
    } else {
        "holds again"
    };
    Notice::Lifecycle {
        ts_ns,
        word,
        text: format!("{name} {says}: {left} against {right}"),
        details: vec![
            ("identity".to_owned(), Value::from(name.as_str())),
            ("left".to_owned(), Value::from(*left)),
            ("right".to_owned(), Value::from(*right)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_that_opens_is_said_once_and_again_when_it_closes() {
        let mut open = OpenIdentities::default();
        let mut books = Books::default();
        let said = |notices: Vec<Notice>| -> Vec<(&'static str, String)> {
            let parts = |notice| match notice {
                Notice::Lifecycle { word, text, .. } => (word, text),
                Notice::Stats { .. } => panic!("no lifecycle"),
            };
            notices.into_iter().map(parts).collect()
        };
        assert_eq!(said(open.notices(&books, 0)), []);
        books.shards.flow.syn_packets = 3;
        books.shards.contacts_sent[0] = 3;
        books.in_flight.contacts = 3;
        let name = "syn_packets = new_connections + syn_retransmitted + syn_other_interface";
        let text = format!("{name} does not hold: 3 against 0");
        assert_eq!(said(open.notices(&books, 1)), [("books_open", text)]);
        assert_eq!(said(open.notices(&books, 2)), []);
        books.shards.flow.syn_retransmitted = 3;
        let text = format!("{name} holds again: 3 against 3");
        assert_eq!(said(open.notices(&books, 3)), [("books_closed", text)]);
        assert_eq!(said(open.notices(&books, 4)), []);
    }
}
