//! Rules that the source keeps.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/packages.rs"]
mod packages;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use imports::Imports;
use source::Source;

/// Folders and files of the sensor, from the top down; see [`Imports::upward`].
const LAYERS: [&[&str]; 18] = [
    &["commands"],
    &["sensor"],
    &["check"],
    &["settings"],
    &["observe"],
    &["shard"],
    &["witness"],
    &["respond"],
    &["log"],
    &["books"],
    &["inspect", "shedding"],
    &["flow"],
    &["decode"],
    &["host"],
    &["capture"],
    &["time"],
    &["sys"],
    &[
        "counters",
        "error",
        "hyperloglog",
        "snapshot",
        "splitmix",
        "words",
    ],
];
/// Folders and files of the load tester, from the top down; see [`Imports::upward`].
const LOADTEST_LAYERS: [&[&str]; 10] = [
    &["cli"],
    &["clean", "experiments"],
    &["report"],
    &["receivers"],
    &["truth"],
    &["send"],
    &["lab", "traffic"],
    &["sys"],
    &["judge"],
    &["flags", "say"],
];
/// All folders with our code.
const CHECKED: [&str; 6] = ["src", "tests", "benches", "tools", "loadtest", "packaging"];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Name and text of files below these folders, with one of these endings.
fn files(folders: &[&str], endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable folder");
            left.extend(entries.map(|entry| entry.expect("readable entry").path()));
        } else if path
            .extension()
            .is_some_and(|end| endings.iter().any(|one| end == *one))
        {
            let name = path.strip_prefix(root()).expect("below the root");
            let text = fs::read_to_string(&path).expect("UTF-8 source");
            found.push((name.display().to_string(), text));
        }
    }
    found.sort();
    found
}

/// The sensor's own source.
fn sources() -> Vec<Source> {
    sources_of("src")
}

/// All files of a crate; `shipped` is empty for files that only tests compile.
fn sources_of(root: &str) -> Vec<Source> {
    let mut all: Vec<Source> = files(&[root], &["rs"])
        .iter()
        .map(|(name, text)| Source::new(name, text))
        .collect();
    let tests: BTreeSet<String> = all.iter().flat_map(test_files).collect();
    for source in &mut all {
        if tests
            .iter()
            .any(|test| source.name.starts_with(test.as_str()))
        {
            source.shipped.clear();
        }
    }
    let shipped = all.iter().filter(|source| !source.shipped.is_empty());
    eprintln!(
        "tidy: {} files under {root}/, {} of them shipped",
        all.len(),
        shipped.count()
    );
    all
}

/// Files and folders of the modules that this file declares for tests only.
fn test_files(source: &Source) -> Vec<String> {
    let (folder, file) = source.name.rsplit_once('/').expect("in src/");
    let inside = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => source.name.trim_end_matches(".rs").to_owned(),
    };
    let mut found = Vec::new();
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    for (at, _) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| **line == "#[cfg(test)]")
    {
        for line in &lines[at + 1..] {
            if let Some(path) = line
                .strip_prefix("#[path = \"")
                .and_then(|rest| rest.strip_suffix("\"]"))
            {
                found.push(format!("{folder}/{path}"));
            } else if let Some(name) = line
                .strip_suffix(';')
                .and_then(|line| line.rsplit_once("mod "))
            {
                found.extend([
                    format!("{inside}/{}.rs", name.1),
                    format!("{inside}/{}/", name.1),
                ]);
            }
            if !line.starts_with("#[") {
                break;
            }
        }
    }
    found
}

#[test]
fn unsafe_compiles_only_in_sys_and_capture() {
    let stray: Vec<_> = sources()
        .into_iter()
        .filter(|source| {
            !["src/capture/", "src/sys/"]
                .iter()
                .any(|folder| source.name.starts_with(folder))
        })
        .filter(|source| {
            source::tokens(&source.code)
                .iter()
                .any(|(_, word)| *word == "unsafe")
        })
        .map(|source| source.name)
        .collect();
    assert!(
        stray.is_empty(),
        "unsafe outside src/capture and src/sys: {stray:?}"
    );
}

#[test]
fn unsafe_of_tools_and_load_tester_is_in_one_place_each_and_has_safety_comments() {
    let may = ["loadtest/src/sys/", "tools/packet/src/socket.rs"];
    let (mut stray, mut unexplained, mut blocks) = (Vec::new(), Vec::new(), [0; 2]);
    for (name, text) in files(&["loadtest", "tools"], &["rs"]) {
        let place = may.iter().position(|place| name.starts_with(place));
        let source = Source::new(&name, &text);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (line, word) in source::tokens(&source.code) {
            if word != "unsafe" {
                continue;
            }
            match place {
                Some(place) => blocks[place] += 1,
                None => stray.push(format!("{name}:{line}")),
            }
            if !has_safety_comment(&lines[..line]) {
                unexplained.push(format!("{name}:{line}"));
            }
        }
    }
    assert!(!blocks.contains(&0), "no unsafe found in {may:?}");
    assert!(stray.is_empty(), "unsafe outside {may:?}: {stray:?}");
    assert!(
        unexplained.is_empty(),
        "no SAFETY comment before {unexplained:?}"
    );
}

/// Whether the statement of the last line is right below a SAFETY comment.
fn has_safety_comment(lines: &[&str]) -> bool {
    let before = lines[..lines.len() - 1].iter().rev();
    let mut comment = before
        .skip_while(|line| !line.starts_with("//") && !line.ends_with([';', '{', '}']))
        .take_while(|line| line.starts_with("//"));
    comment.any(|line| line.contains("SAFETY") || line.contains("# Safety"))
}

#[test]
fn files_of_the_sensor_import_only_from_lower_layers_and_in_no_cycle() {
    let imports = Imports::of(&sources());
    eprintln!("tidy: {} imports between files of src", imports.count());
    assert!(imports.count() > 500, "too few imports: were files moved?");
    assert_eq!(imports.cycles(), [""; 0]);
    assert_eq!(imports.upward(&LAYERS), [""; 0]);
}

#[test]
fn files_of_the_load_tester_import_only_from_lower_layers_and_in_no_cycle() {
    let imports = Imports::of(&sources_of("loadtest/src"));
    eprintln!("tidy: {} imports between files", imports.count());
    assert!(imports.count() > 100, "too few imports: were files moved?");
    assert_eq!(imports.cycles(), [""; 0]);
    assert_eq!(imports.upward(&LOADTEST_LAYERS), [""; 0]);
}

/// A witness that shares code with the sensor shares its faults.
#[test]
fn the_witness_shares_no_code_with_the_stages_that_it_checks() {
    let sources = sources();
    let witness = sources
        .iter()
        .filter(|source| source.name.starts_with("src/witness/"));
    let mut names = Vec::new();
    for source in witness.clone() {
        let paths = source::paths(&source.name, &source.shipped);
        names.extend(paths.into_iter().map(|(_, path)| path.join("::")));
    }
    assert!(witness.count() > 5 && names.iter().any(|name| name.starts_with("capture")));
    let shared = ["decode", "flow", "inspect", "shard"];
    names.retain(|name| {
        shared
            .iter()
            .any(|part| name.split("::").next() == Some(part))
    });
    assert!(names.is_empty(), "the witness names {names:?}");
}

#[test]
fn the_wall_clock_is_read_only_where_it_may() {
    // stream.rs measures how long a pipe has been idle.
    let may = ["src/time/", "src/observe/", "src/capture/pcap/stream.rs"];
    let clocks = ["Instant", "SystemTime", "Timestamp", "Zoned"];
    let mut wrong = Vec::new();
    for source in sources() {
        if may.iter().any(|place| source.name.starts_with(place)) {
            continue;
        }
        for words in source::tokens(&source.shipped).windows(3) {
            let [(line, clock), (_, colons), (_, now)] = words else {
                continue;
            };
            if *clock == "clock_gettime"
                || (clocks.contains(clock) && (*colons, *now) == ("::", "now"))
            {
                wrong.push(format!("{}:{line}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "wall clock in {wrong:#?}");
}

fn long_functions(source: &Source) -> Vec<String> {
    source::functions(&source.code)
        .into_iter()
        .filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(line, name, lines)| format!("{}:{line}: {name} has {lines} lines", source.name))
        .collect()
}

#[test]
fn functions_have_at_most_seventy_lines() {
    let files = files(&CHECKED, &["rs"]);
    let sources: Vec<_> = files
        .iter()
        .map(|(name, text)| Source::new(name, text))
        .collect();
    let count: usize = sources
        .iter()
        .map(|source| source::functions(&source.code).len())
        .sum();
    eprintln!("tidy: {count} functions in {} files", sources.len());
    let long: Vec<_> = sources.iter().flat_map(long_functions).collect();
    assert!(
        long.is_empty(),
        "longer than {FUNCTION_LINES_MAX} lines: {long:#?}"
    );
}

#[test]
fn a_long_function_is_found_with_any_qualifiers() {
    let heads = [
        "fn f()",
        "pub async fn f()",
        "pub(super) unsafe fn f()",
        "pub(in crate::flow) const unsafe extern \"C\" fn f()",
        "async fn f<T>(\n    a: [u8; 3],\n) -> Result<T, ()>\nwhere\n    T: Copy,\n",
    ];
    let declared = "trait T {\n    fn g(\n        a: u8,\n    );\n}\n";
    for head in heads {
        let open = format!("{head} {{\n    fn inner() {{ \"}}\" }}\n");
        for (lines, found) in [(FUNCTION_LINES_MAX, 0), (FUNCTION_LINES_MAX + 1, 1)] {
            let body = "    x();\n".repeat(lines - open.lines().count() - 1);
            let source = Source::new("a.rs", &format!("{declared}{open}{body}}}\n{declared}"));
            assert_eq!(
                long_functions(&source).len(),
                found,
                "{lines} lines: {head}"
            );
        }
    }
}

#[test]
fn files_have_at_most_five_hundred_lines() {
    let long: Vec<_> = files(&CHECKED, &["rs", "py"])
        .into_iter()
        .map(|(name, text)| (text.lines().count(), name))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(
        long.is_empty(),
        "longer than {FILE_LINES_MAX} lines: {long:?}"
    );
}

#[test]
fn no_unfinished_code_is_left() {
    // In pieces, so that this file does not name them.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|[a, b]| format!("{a}{b}"));
    let macros = [["to", "do"], ["unimple", "mented"], ["d", "bg"]].map(|[a, b]| format!("{a}{b}"));
    let mut left = Vec::new();
    for (name, text) in files(&CHECKED, &["rs", "py", "md", "toml"]) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                left.push(format!("{name}:{}: {line}", number + 1));
            }
        }
        if !name.ends_with(".rs") {
            continue;
        }
        let source = Source::new(&name, &text);
        let tokens = source::tokens(&source.code);
        for words in tokens.windows(3) {
            let unfinished = macros.iter().any(|word| word == words[0].1) && words[1].1 == "!";
            let not_run = words[0].1 == "#" && words[1].1 == "[" && words[2].1 == "ignore";
            if unfinished || not_run {
                left.push(format!(
                    "{name}:{}: {}{}{}",
                    words[0].0, words[0].1, words[1].1, words[2].1
                ));
            }
        }
    }
    assert!(left.is_empty(), "{left:#?}");
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
        // Tests are beside the code that they test.
        .filter(|name| !name.ends_with("_tests.rs"))
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
fn the_readme_has_at_most_fifteen_hundred_words() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let words = readme.split_whitespace().count();
    assert!(words <= 1500, "README has {words} words");
}

#[test]
fn readme_and_results_have_the_recorded_instruction_counts() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect(name);
    let counted = read("benches/instructions.csv");
    let of = |workload: &str| -> f64 {
        let mut rows = counted.lines().filter_map(|line| line.rsplit_once(','));
        let row = rows.find(|(name, _)| *name == workload).expect(workload);
        row.1.parse().expect("a number")
    };
    let grouped = |count: f64| {
        let digits = format!("{count:.0}");
        let (thousands, rest) = digits.split_at(digits.len().saturating_sub(3));
        if thousands.is_empty() {
            digits.clone()
        } else {
            format!("{thousands},{rest}")
        }
    };
    let (flood, none) = (of("shard SYN flood"), of("shard SYN flood (no detector)"));
    let more = format!("{:.0} % more instructions", (flood / none - 1.0) * 100.0);
    let results = read("loadtest/RESULTS.md").replace('\n', " ");
    for sentence in [
        &more,
        &format!(
            "takes {} instructions, {} of them",
            grouped(flood),
            grouped(none)
        ),
        &format!("connection takes {} (", grouped(of("shard established"))),
    ] {
        assert!(results.contains(sentence), "RESULTS.md: {sentence}");
    }
    let readme = read("README.md").replace('\n', " ");
    assert!(readme.contains(&more), "README.md: {more}");
}

#[test]
fn make_lists_every_documented_target() {
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
