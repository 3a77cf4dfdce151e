//! Frames of captures, and rings of interfaces that came back.

use super::{Books, books, open, ring};
use synledger::books::ring::by_ring;

#[test]
fn frames_of_captures_equal_frames_of_shards() {
    let captured = |frames| Books {
        rings: Vec::new(),
        frames_offered: Some(frames),
        ..books()
    };
    assert!(captured(1000).closed());
    for frames in [999, 1001] {
        let name = "frames of the captures = frames of all shards";
        assert_eq!(open(&captured(frames)), [name]);
    }
}

#[test]
fn rings_of_a_recreated_interface_are_summed() {
    let rings = [ring("open", 3), ring("data", 4), ring("open", 10)];
    let all = by_ring(rings.into_iter());
    assert_eq!(all.len(), 2);
    let open = &all[0];
    assert_eq!(
        (open.frames_read, open.tp_packets, open.capacity),
        (13, 27, 200)
    );
}
