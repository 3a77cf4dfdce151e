//! Properties of the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Stages in the order of a packet's way: a stage never names a later one.
const STAGES: [&str; 6] = ["capture", "decode", "flow", "inspect", "log", "observe"];
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let root = root();
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(&root)
            .expect("below the root")
            .display()
            .to_string();
        (name, fs::read_to_string(path).expect("UTF-8 source"))
    };
    let files: Vec<_> = rust_files(&root.join("src"))
        .into_iter()
        .map(read)
        .collect();
    eprintln!("tidy: {} files under src/", files.len());
    files
}

/// The line without comments; string contents stay.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.ends_with("naive.rs")
}

/// The part of a file before its unit tests.
fn shipped(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn unsafe_compiles_only_under_capture() {
    let stray: Vec<_> = sources()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("src/capture/"))
        .filter(|(_, source)| {
            source
                .lines()
                .any(|line| code(line).split_whitespace().any(|word| word == "unsafe"))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(stray.is_empty(), "unsafe outside src/capture: {stray:?}");
}

#[test]
fn no_stage_names_a_later_one() {
    let mut wrong = Vec::new();
    for (name, source) in sources() {
        let Some(stage) = STAGES
            .iter()
            .position(|stage| name.starts_with(&format!("src/{stage}/")))
        else {
            continue;
        };
        for (number, line) in shipped(&source) {
            for later in &STAGES[stage + 1..] {
                if code(line).contains(&format!("crate::{later}")) {
                    wrong.push(format!("{name}:{}: names {later}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_wall_clock_is_read_only_where_it_may() {
    let may = [
        "src/worker.rs",
        "src/books.rs",
        "src/capture/",
        "src/observe/",
    ];
    let mut wrong = Vec::new();
    for (name, source) in sources() {
        if is_test(&name) || may.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        for (number, line) in shipped(&source) {
            if ["Instant::now", "SystemTime::now", "Timestamp::now"]
                .iter()
                .any(|clock| code(line).contains(clock))
            {
                wrong.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "wall clock in {wrong:#?}");
}

#[test]
fn functions_have_at_most_seventy_lines() {
    let mut long = Vec::new();
    for (name, source) in sources() {
        let mut start: Option<(usize, usize)> = None;
        for (number, line) in source.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let is_fn = [
                "fn ",
                "pub fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "const fn ",
                "pub const fn ",
                "pub unsafe fn ",
                "unsafe fn ",
            ]
            .iter()
            .any(|prefix| head.starts_with(prefix));
            if is_fn && !head.ends_with(';') {
                start = Some((number, indent));
            } else if let Some((first, depth)) = start
                && line.trim_end() == format!("{}}}", " ".repeat(depth))
            {
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    long.push(format!("{name}:{}: {lines} lines", first + 1));
                }
                start = None;
            }
        }
    }
    assert!(
        long.is_empty(),
        "longer than {FUNCTION_LINES_MAX} lines: {long:#?}"
    );
}

#[test]
fn the_readme_shows_the_tree_of_src() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut names: Vec<String> = fs::read_dir(root().join("src"))
        .expect("src")
        .map(|entry| entry.expect("entry"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("UTF-8");
            if entry.path().is_dir() {
                name + "/"
            } else {
                name
            }
        })
        .collect();
    names.sort();
    let block = readme
        .split("src/\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a tree in README");
    let mut shown: Vec<String> = block
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    shown.sort();
    assert_eq!(shown, names, "README's tree and src/ differ");
}

#[test]
fn make_lists_every_target_that_says_what_it_does() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let documented: Vec<&str> = makefile
        .lines()
        .filter(|line| line.contains("## ") && !line.starts_with('\t'))
        .filter_map(|line| line.split(':').next())
        .collect();
    let output = std::process::Command::new("make")
        .current_dir(root())
        .output()
        .expect("make runs");
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(!documented.is_empty());
    for target in documented {
        assert!(
            listed
                .lines()
                .any(|line| line.split_whitespace().next() == Some(target)),
            "{target} is not listed"
        );
    }
}
