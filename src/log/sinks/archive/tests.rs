use super::*;
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn rotation(keep: &str) -> Rotation {
    let mut rotation = Rotation::default();
    rotation.set_rotate("1MiB").expect("good");
    rotation.set_keep(keep).expect("good");
    rotation
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut all: Vec<String> = entries
        .map(|entry| name(entry).into_string().expect("text"))
        .collect();
    all.sort_unstable();
    all
}

/// Writes a file of a MiB at `path`, and closes it.
fn close_one(shelf: &mut Shelf, path: &Path, second: i64) {
    fs::write(path, vec![b'x'; MIB]).expect("written");
    let begun_ns = second * 1_000_000_000;
    let place = shelf.put(path, begun_ns).expect("renamed");
    shelf.closed(place, begun_ns);
}

#[test]
fn a_run_goes_on_with_what_a_killed_one_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let names = Names::of_file(&path);
    let place = |second| Place { second, number: 0 };
    let left = [
        (1, Form::Plain),
        (2, Form::Plain),
        (2, Form::Part),
        (3, Form::Plain),
        (3, Form::Gzip),
        (4, Form::Part),
        (5, Form::Gzip),
    ];
    for (second, form) in left {
        fs::write(names.path(place(second), form), "text").expect("written");
    }
    let archive = Archive::default();
    let _shelf = archive.add(names.clone(), 0, rotation("9"));
    let says = "log.*: 4 closed files, 0.0MiB, since 1970-01-01-00-00-01; limits reach 38 days back at their rate";
    let described = archive.describe(0);
    assert!(
        described.len() == 1 && described[0].ends_with(says),
        "{described:?}"
    );
    archive.tend();
    let whole = [1, 2, 3, 5].map(|second| names.path(place(second), Form::Gzip));
    let name = |path: &PathBuf| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(names_in(folder.path()), whole.each_ref().map(name));
}

#[test]
fn the_budget_holds_over_all_names_and_the_oldest_goes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::default();
    archive.limit(Some(12 << 20));
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    let mut shelves = paths
        .each_ref()
        .map(|path| archive.add(Names::of_file(path), 0, rotation("99")));
    for second in 0..20 {
        let at = usize::from(second % 4 == 0);
        close_one(&mut shelves[at], &paths[at], second);
        let plain = names_in(folder.path()).len();
        // Four for what is open and compressed.
        assert!(plain <= 8, "{second}: {plain}");
    }
    let kept = names_in(folder.path());
    let seconds: Vec<&str> = kept.iter().map(|name| &name[name.len() - 3..]).collect();
    assert_eq!(
        seconds,
        ["13Z", "14Z", "15Z", "17Z", "18Z", "19Z", "12Z", "16Z"]
    );
    archive.tend();
    assert!(
        names_in(folder.path())
            .iter()
            .all(|name| name.ends_with(".gz"))
    );
}

#[test]
fn a_folder_that_is_removed_is_an_empty_one_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("logs");
    let path = folder.join("log");
    fs::create_dir(&folder).expect("a folder");
    let archive = Archive::default();
    let mut shelf = archive.add(Names::of_file(&path), 0, rotation("3"));
    (0..5).for_each(|second| close_one(&mut shelf, &path, second));
    archive.tend();
    assert_eq!(names_in(&folder).len(), 3);
    fs::remove_dir_all(&folder).expect("removed");
    archive.tend();
    fs::create_dir(&folder).expect("a folder");
    archive.tend();
    assert!(archive.describe(0)[0].ends_with("no closed file"));
    (5..7).for_each(|second| close_one(&mut shelf, &path, second));
    archive.tend();
    assert_eq!(names_in(&folder).len(), 2);
    assert_eq!(archive.take_failures(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_removed_or_compressed_is_said_once_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let archive = Archive::default();
    let mut shelf = archive.add(Names::of_file(&path), 0, rotation("1"));
    close_one(&mut shelf, &path, 0);
    // In the way of the compressed file.
    fs::create_dir(folder.path().join("log.19700101T000000Z.gz.part")).expect("a folder");
    archive.tend();
    archive.tend();
    let failures = archive.take_failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let says = "log.19700101T000000Z cannot be compressed: ";
    assert!(failures[0].contains(says), "{failures:?}");
    assert_eq!(names_in(folder.path()).len(), 2);
    fs::remove_dir(folder.path().join("log.19700101T000000Z.gz.part")).expect("removed");
    archive.tend();
    assert_eq!(names_in(folder.path()), ["log.19700101T000000Z.gz"]);
}

#[test]
fn the_thread_compresses_what_is_closed_and_ends_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let archive = Archive::default();
    let mut shelf = archive.add(Names::of_file(&path), 0, rotation("2"));
    let own = archive.clone();
    let thread = std::thread::spawn(move || own.run());
    let start = Instant::now();
    for second in 0..9 {
        close_one(&mut shelf, &path, second);
        while names_in(folder.path())
            .iter()
            .any(|name| !name.ends_with(".gz"))
        {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    archive.stop(Stop::Now);
    thread.join().expect("no panic");
    assert_eq!(names_in(folder.path()).len(), 2);
}

#[test]
fn the_limits_of_a_removed_output_end_with_it_and_its_files_count_once_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let archive = Archive::default();
    archive.limit(Some(12 << 20));
    let mut shelf = archive.add(Names::of_file(&path), 0, rotation("2"));
    for second in 0..2 {
        close_one(&mut shelf, &path, second);
    }
    archive.forget(0);
    drop(shelf);
    archive.tend();
    let plain = names_in(folder.path());
    assert_eq!(plain.len(), 2, "{plain:?}");
    assert!(archive.reach(0).is_empty(), "it has no limit any more");
    // Back, with room for more: what is left of the old limit would remove some.
    let mut shelf = archive.add(Names::of_file(&path), 1, rotation("99"));
    for second in 2..9 {
        close_one(&mut shelf, &path, second);
    }
    let state = archive.state();
    assert_eq!(state.ledger.series.len(), 1);
    assert_eq!(state.ledger.series[0].closed.len(), 9);
    drop(state);
    assert_eq!(names_in(folder.path()).len(), 9);
}
