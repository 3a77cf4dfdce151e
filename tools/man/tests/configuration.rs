//! The example of the configuration file has every flag with its default, and the pages' example is valid.

use clap::{Arg, Command};
use man::sections::Block;
use man::{example, sections};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use synledger::settings::RunConfig;
use synledger::settings::arguments::{self, Refused};
use synledger::settings::flags::{self, RunArgs};
use synledger::settings::given::Given;
use synledger::settings::program::{is_key, program};

const DRY_RUN: &str = "dry-run";

/// `run` with this configuration file.
fn run(text: &str) -> RunArgs {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("f.toml");
    std::fs::write(&file, text).expect("a file");
    let words = ["synledger", "run"].map(OsString::from);
    let cli = arguments::parse(words, &file).map_err(|refused| match refused {
        Refused::CommandLine(error) => error.to_string(),
        Refused::File(error) => error.0,
    });
    match cli.expect(text).command {
        flags::Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn checked(args: RunArgs) -> String {
    let config = RunConfig::new(args).expect("it is right");
    let given = Given::default();
    format!("{:?}", RunConfig { given, ..config })
}

/// The generated example, and its lines that set a key.
fn generated() -> (String, Vec<String>) {
    let text = String::from_utf8(man::example().bytes).expect("UTF-8");
    let settings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let settings = settings.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let settings = settings.map(str::to_owned).collect();
    (text, settings)
}

#[test]
fn the_example_in_the_repository_is_the_generated_one() {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let kept = std::fs::read_to_string(place.join(example::PLACE)).expect(example::PLACE);
    let (text, _) = generated();
    let hint = "make man && cp target/man/synledger.toml contrib/";
    assert!(kept == text, "it has changed: {hint}\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn every_flag_is_in_the_example_with_its_default() {
    let (text, settings) = generated();
    let run_flags = program();
    let run_flags: &Command = run_flags.find_subcommand("run").expect("it is there");
    let keys = run_flags.get_arguments().filter(|arg| is_key(arg));
    let keys = keys.filter_map(Arg::get_long).filter(|key| *key != DRY_RUN);
    let mut keys: Vec<&str> = keys.collect();
    let mut shown: Vec<&str> = settings
        .iter()
        .filter_map(|line| line.split(" = ").next())
        .collect();
    keys.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, keys);

    let plain = run("");
    assert_eq!(run(&text).common.file.given.settings, []);
    let all = run(&settings.join("\n"));
    assert_eq!(all.common.file.given.settings.len(), keys.len());
    assert_eq!(checked(all), checked(plain));
}

#[test]
fn the_file_in_the_page_is_accepted() {
    let configuration = sections::of("synledger");
    let mut sections = configuration.iter();
    let section = sections.find(|section| section.title == "CONFIGURATION");
    let mut files = 0;
    for block in section.expect("it is there").blocks {
        if let Block::Lines(lines) = block {
            let args = run(&lines.join("\n"));
            assert_eq!(args.common.file.given.settings.len(), lines.len() + 3);
            assert_eq!(args.metrics, []);
            files += 1;
        }
    }
    assert_eq!(files, 1);
}

#[test]
fn every_page_and_the_example_name_the_default_path() {
    let path = synledger::settings::file::DEFAULT_PATH;
    assert!(Path::new(path).is_absolute());
    for command in man::commands() {
        let page = String::from_utf8(man::page(&command).expect("memory").bytes).expect("UTF-8");
        assert!(page.contains(path), "{}", command.get_name());
    }
    assert!(String::from_utf8_lossy(&man::example().bytes).contains(path));
}
