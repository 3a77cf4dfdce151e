use super::*;
use crate::log::formats::samples::books;

#[test]
fn folded_attempts_are_told_beside_those_written() {
    let mut books = books();
    books.shards.folded_by_shards = 90;
    (books.log.folded_connections, books.log.flood_records) = (90, 2);
    for output in &mut books.outputs {
        (output.counts.written[0], output.counts.folded[0]) = (3, 90);
    }
    let text = ten_lines(&books);
    for line in [
        "90 new connections folded into 2 flood records\n",
        "text:-: 3 written, 90 folded, 0 dropped\n",
        "the books close: ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn an_ordinary_run_is_told_in_ten_lines() {
    let text = ten_lines(&books());
    let lines = text.lines().count();
    assert!((8..=14).contains(&lines), "{lines} lines:\n{text}");
}

#[test]
fn the_last_lines_say_what_was_missed_and_then_that_it_adds_up() {
    let text = ten_lines(&books());
    let last: Vec<&str> = text.lines().rev().take(4).collect();
    let close = "the books close: all is accounted for, with what was missed; ";
    assert!(last[0].starts_with(close), "{text}");
    assert!(last[1].starts_with("missed: "), "{text}");
    let whole = Books {
        at_exit: true,
        ..Books::default()
    };
    let text = ten_lines(&whole);
    let expected = "nothing was missed\nthe books close: all is accounted for; ";
    assert!(text.contains(expected), "{text}");
}
