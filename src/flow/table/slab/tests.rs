//! What a look-up may keep in mind.

use super::*;

#[test]
fn a_hint_names_the_first_entry_and_holds_until_any_leaves() {
    let (hash, other) = (7 << 32 | 3, 9 << 40 | 5);
    let mut slab = Slab::new(8, 0_u64);
    assert_eq!(
        slab.hinted(slab.prefetch_entries(hash)),
        None,
        "nothing is there"
    );
    assert_eq!(slab.hinted(Hint::default()), None);
    let at = slab.insert(hash, 71, 0).expect("room");
    let hint = slab.prefetch_entries(hash);
    assert!(hint.any());
    assert_eq!(slab.hinted(hint), Some((at, &mut 71)));
    // What comes takes nobody's place.
    let later = slab.insert(other, 72, 0).expect("room");
    assert_eq!(slab.hinted(hint), Some((at, &mut 71)));
    // What leaves may: here the very place of the hint.
    slab.remove(at);
    assert_eq!(slab.hinted(hint), None);
    assert_eq!(slab.insert(other, 73, 0), Some(at));
    assert_eq!(slab.hinted(hint), None);
    assert!(!slab.prefetch_entries(hash).any());
    let found = slab.find(other, |at, &entry| (at == later).then_some(entry));
    assert_eq!(found, Some((later, 72)));
}

#[test]
fn an_entry_in_its_second_bucket_is_prefetched_without_a_hint() {
    let hash = 1 << 32 | 3;
    let mut slab = Slab::new(64, 0_u64);
    let places: Vec<u32> = (0..=WAYS as u64)
        .map(|entry| slab.insert(hash, entry, 0).expect("room"))
        .collect();
    let hint = slab.prefetch_entries(hash);
    assert!(hint.any());
    assert_eq!(
        slab.hinted(hint),
        Some((places[0], &mut 0)),
        "the first of its bucket"
    );
    for &at in &places[..WAYS] {
        slab.remove(at);
    }
    let hint = slab.prefetch_entries(hash);
    assert!(hint.any(), "one lies in the second bucket");
    assert_eq!(slab.hinted(hint), None);
    let found = slab.find(hash, |_, &entry| Some(entry));
    assert_eq!(found, Some((places[WAYS], WAYS as u64)));
}
