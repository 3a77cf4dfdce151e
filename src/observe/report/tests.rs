use super::*;
use crate::books::blocks::BlockCounts;
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

#[test]
fn captures_that_were_not_read_to_their_ends_are_not_called_whole() {
    let books = Books {
        at_exit: true,
        ..Books::default()
    };
    let text = ten_lines_of_a_part(&books);
    let expected = "missed: whatever the captures hold beyond where their reading ended\n\
                    the books close: all that was read is accounted for; ";
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("nothing was missed"), "{text}");
}

#[test]
fn blocks_have_a_line_that_adds_up() {
    let mut books = books();
    let mut counts = BlockCounts {
        wanted: [7, 1, 0, 0],
        in_kernel: 1,
        in_flight: 1,
        expired: 2,
        removed: [1, 0, 0, 1],
        dropped_packets: 1,
        ..BlockCounts::default()
    };
    counts.refused[BlockRefusal::Gateway as usize] = 2;
    counts.delays.record(1_234);
    let name = "dry-run".to_owned();
    books.blocks = Some(BlockBooks { name, counts });
    let text = ten_lines(&books);
    let expected = "--block dry-run: 8 blocks wanted: 2 there, 2 refused (2 gateway), 2 expired, 2 removed (1 by_hand, \
                    1 end_of_run); 1 packet dropped; the slowest took 1.2 ms\n";
    assert!(text.contains(expected), "{text}");
}
