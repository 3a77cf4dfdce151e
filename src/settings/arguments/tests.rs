use super::*;
use crate::settings::RunConfig;
use crate::settings::flags::RunArgs;
use proptest::prelude::*;
use proptest::sample::subsequence;

const NOWHERE: &str = "/nowhere/synledger.toml";

/// A file in a folder of its own.
struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written(text: &str) -> Written {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.toml");
    std::fs::write(&path, text).expect("a file");
    Written {
        path,
        _folder: folder,
    }
}

/// What `words` come to with `text` in the default file; errors name that file F.
fn cli(text: &str, words: &[&str]) -> Result<Cli, String> {
    let file = written(text);
    let words = ["synledger"].iter().chain(words).map(OsString::from);
    let shown = file.path.display().to_string();
    parse(words, &file.path).map_err(|refused| match refused {
        Refused::CommandLine(error) => error.to_string(),
        Refused::File(error) => error.0.replace(&shown, "F"),
    })
}

fn run(text: &str, words: &[&str]) -> RunArgs {
    let words = [&["run"], words].concat();
    match cli(text, &words).expect(text).command {
        Subcommand::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn origins(args: &RunArgs) -> Vec<String> {
    let settings = args.common.file.given.settings.iter();
    settings
        .map(|Setting { key, origin, .. }| match origin {
            Origin::File { line, .. } => format!("{key}: line {line}"),
            origin => format!("{key}: {origin}"),
        })
        .collect()
}

fn targets(args: &RunArgs) -> Vec<String> {
    args.metrics.iter().map(ToString::to_string).collect()
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_preset() {
    let text = "capture = \"full\"\nring-mib = 128\n\npreset = \"edge\"\n";
    let args = run(text, &["--ring-mib", "256"]);
    assert_eq!(args.capture.word(), "full");
    assert_eq!(args.rings.ring_mib, 256);
    assert_eq!(targets(&args), ["127.0.0.1:9477"]);
    let expected = [
        "ring-mib: command line",
        "capture: line 1",
        "preset: line 4",
        "output: preset edge",
        "metrics: preset edge",
        "state: preset edge",
    ];
    assert_eq!(origins(&args), expected);
    let args = run(text, &["--preset", "ledger", "--metrics", ":1"]);
    assert_eq!(
        args.common.output,
        ["eve:/var/log/synledger/eve.json,rotate=1h,keep=8GiB"]
    );
    assert_eq!(targets(&args), [":1"]);
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let text = "interface = [\"eth0\", \"ens*\"]\noutput = [\"text:-\", \"eve:/a\"]\nlocal = \"10.0.0.0/8\"";
    let args = run(text, &[]);
    assert_eq!(args.interfaces.interfaces, ["eth0", "ens*"]);
    assert_eq!(args.common.output, ["text:-", "eve:/a"]);
    assert_eq!(args.common.local.len(), 1);
    let words = ["-i", "lo", "--output", "eve:/b", "--local", "::1,192.0.2.1"];
    let args = run(text, &words);
    assert_eq!(args.interfaces.interfaces, ["lo"]);
    assert_eq!(args.common.output, ["eve:/b"]);
    assert_eq!(args.common.local.len(), 2);
}

#[test]
fn a_flag_is_taken_back_by_its_opposite() {
    let text = "promiscuous = true\nmetrics = \":1\"\nallow = [\"192.0.2.1\"]\nverbose = true\n";
    let args = run(
        text,
        &["--no-promiscuous", "--no-metrics", "--no-allow", "-q"],
    );
    assert!(!args.promiscuous && !args.verbose && args.common.quiet);
    assert_eq!((args.metrics, args.common.allow), (vec![], vec![]));
    let args = run("metrics = false\npreset = \"edge\"\nallow = []", &[]);
    assert_eq!((args.metrics, args.common.allow), (vec![], vec![]));
    // The last one counts, as ever.
    assert!(run("", &["--no-strict", "--strict"]).common.strict);
    assert!(!run("", &["--strict", "--no-strict"]).common.strict);
    let error = cli("", &["run", "--no-ring-mib"]).expect_err("it has a default");
    assert!(error.contains("unexpected argument"), "{error}");
}

#[test]
fn the_flags_of_the_command_line_are_as_strict_as_without_a_file() {
    for words in [
        &["run", "--workers", "1", "--workers", "2"][..],
        &["run", "-v", "-q"],
        &["run", "--nothing"],
        &["read"],
        &[],
    ] {
        let words = [&["synledger"], words].concat();
        let plain = program::program()
            .try_get_matches_from(&words)
            .expect_err("wrong");
        let words = words.into_iter().map(OsString::from);
        match parse(words, Path::new(NOWHERE)).expect_err("wrong") {
            Refused::CommandLine(error) => {
                assert_eq!(error.kind(), plain.kind());
                assert_eq!(error.to_string(), plain.to_string());
            }
            refused => panic!("{refused:?}"),
        }
    }
}

/// Files with one wrong line, and what is said of it.
const WRONG: &[(&str, &str)] = &[
    (
        "\nworkers = 0",
        "line 2: workers = 0: must be a whole number from 1 to 64",
    ),
    (
        "workers = \"a\"",
        "line 1: workers = \"a\": must be a whole number from 1 to 64",
    ),
    (
        "workers = [1, 2]",
        "line 1: workers = [1, 2]: must be one value, or false",
    ),
    (
        "workers = true",
        "line 1: workers = true: must be one value, or false",
    ),
    (
        "ring-mib = false",
        "line 1: ring-mib = false: must be one value",
    ),
    ("strict = 1", "line 1: strict = 1: must be true or false"),
    (
        "local = 1979-05-27",
        "line 1: local = 1979-05-27: must be a value or a list of values, or false",
    ),
    (
        "interface = []",
        "line 1: interface = []: an empty list; without this line it has its default",
    ),
    (
        "shed = \"aut\"",
        "line 1: shed = \"aut\": must be auto or off",
    ),
    (
        "direction = [\n\"in\",\n\"off\"]",
        "line 3: direction = \"off\": must be in, out, local, transit or unknown",
    ),
    (
        "wrkers = 1",
        "line 1: unknown key wrkers: did you mean workers?",
    ),
    (
        "ring_mib = 1",
        "line 1: unknown key ring_mib: did you mean ring-mib?",
    ),
    ("jsn = true", "line 1: unknown key jsn: did you mean json?"),
    (
        "no-strict = true",
        "line 1: unknown key no-strict: did you mean strict?",
    ),
    (
        "\"a\\u001b\" = 1",
        "line 1: unknown key \"a\\u001B\": the keys are the names of flags: synledger run --help",
    ),
    (
        "config = \"x\"",
        "line 1: unknown key config: the keys are the names of flags: synledger run --help",
    ),
    (
        "[run]\nworkers = 1",
        "line 1: run is a table; there are none: a flag a line, KEY = VALUE",
    ),
    (
        "quiet = true\n\nverbose = true",
        "line 3: verbose cannot be used with quiet in line 1",
    ),
    // Of another subcommand, and wrong all the same.
    (
        "seed = -1",
        "line 1: seed = -1: must be a whole number from 0 to 18446744073709551615",
    ),
];

#[test]
fn every_wrong_line_is_named_with_what_is_right() {
    for (text, says) in WRONG {
        let error = cli(text, &["run"]).expect_err(text);
        assert_eq!(error, format!("F {says}"), "{text}");
    }
    let error = cli("fanout = \"lb\"", &["check"]).expect_err("not offered");
    let says = "F line 1: fanout = \"lb\": `lb` splits";
    assert!(error.starts_with(says), "{error}");
}

#[test]
fn what_stands_on_the_command_line_does_not_hide_a_wrong_line() {
    let error = cli("workers = 0", &["run", "--workers", "1"]).expect_err("line 1");
    assert_eq!(
        error,
        "F line 1: workers = 0: must be a whole number from 1 to 64"
    );
}

#[test]
fn one_file_serves_every_subcommand() {
    let text =
        "capture = \"full\"\nseed = 1\njson = true\nworkers = 2\nfold = 0\npreset = \"edge\"\n";
    let args = run(text, &[]);
    assert_eq!((args.capture.word(), args.fold), ("full", 0));
    assert_eq!(args.common.file.given.elsewhere, ["seed", "json"]);
    assert_eq!(args.common.file.given.note("run"), None);
    let Subcommand::Check(args) = cli(text, &["check"]).expect("it is right").command else {
        unreachable!("check was asked for");
    };
    assert!(args.json);
    // Those of `run` are read as a run does.
    assert_eq!(args.file.given.elsewhere, ["seed"]);
    let file = written(text);
    let path = file.path.display().to_string();
    let words = ["read", "--config", &path, "x.pcap"];
    let Subcommand::Read(args) = cli("", &words).expect("it is right").command else {
        unreachable!("read was asked for");
    };
    assert_eq!(
        (args.seed, args.fold, args.common.size.workers),
        (Some(1), Some(0), Some(2))
    );
    let note = args
        .common
        .file
        .given
        .note("read")
        .expect("the file was named");
    let says =
        ": left out, for they are flags of other subcommands than read: capture, json, preset";
    assert_eq!(note, format!("{path}{says}"));
}

#[test]
fn a_flag_whose_value_may_be_left_out_takes_a_switch_too() {
    let fold = |toml: &str, words: &[&str]| -> Result<Option<u32>, String> {
        let file = written(toml);
        let path = file.path.display().to_string();
        let words = [&["read", "--config", &path], words, &["x.pcap"]].concat();
        match cli("", &words)?.command {
            Subcommand::Read(args) => Ok(args.fold),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fold("fold = true", &[]), Ok(Some(1000)));
    assert_eq!(fold("fold = 7", &[]), Ok(Some(7)));
    assert_eq!(fold("fold = false", &[]), Ok(None));
    assert_eq!(fold("fold = 7", &["--fold"]), Ok(Some(1000)));
    assert_eq!(fold("fold = 7", &["--no-fold"]), Ok(None));
    let error = fold("fold = [1]", &[]).expect_err("one at most");
    let says = "line 1: fold = [1]: must be one value, true or false";
    assert!(error.ends_with(says), "{error}");
}

#[test]
fn a_file_is_read_where_it_is_meant() {
    let text = "workers = 3";
    assert_eq!(run(text, &[]).common.size.workers, Some(3));
    assert_eq!(run(text, &["--no-config"]).common.size.workers, None);
    let Subcommand::Read(args) = cli(text, &["read", "x"]).expect("no file").command else {
        unreachable!("read was asked for");
    };
    assert_eq!(args.common.size.workers, None);
    let other = written("workers = 5");
    let path = other.path.display().to_string();
    let named = run(text, &["--no-config", "--config", &path]);
    assert_eq!(named.common.size.workers, Some(5));
    assert_eq!(
        run(text, &["--config", &path, "--no-config"])
            .common
            .size
            .workers,
        None
    );
}

#[test]
fn a_usage_fault_says_where_the_flag_stood() {
    let args = run("block-kib = 4096\nring-mib = 4\n", &["--workers", "1"]);
    let given = args.common.file.given.clone();
    let error = RunConfig::new(args).expect_err("too few blocks");
    let path = given
        .file
        .clone()
        .expect("it was read")
        .display()
        .to_string();
    let says = given.explain(&error.0);
    let behind = format!(" (--block-kib is from {path} line 1, --ring-mib is from {path} line 2)");
    assert_eq!(says, error.0 + &behind);
    assert_eq!(given.explain("--workers 1: no"), "--workers 1: no");
    let args = run("interface = \"eth9\"", &[]);
    let says = args.common.file.given.explain("-i eth9: no such interface");
    assert!(says.ends_with(" line 1)"), "{says}");
}

#[test]
fn presets_are_flags_of_run_with_values_that_are_taken_and_told() {
    let program = program::program();
    let command = program.find_subcommand("run").expect("it is there");
    let help = flag(command, "preset").and_then(Arg::get_long_help);
    let help = help.expect("it has one").to_string();
    for preset in Preset::ALL {
        let args = run("", &["--preset", preset.word()]);
        let given = origins(&args);
        for (key, value) in preset.flags() {
            assert!(
                given.contains(&format!("{key}: preset {preset}")),
                "{given:?}"
            );
            let told = help.split_whitespace().collect::<Vec<_>>().join(" ");
            // A long value is told in parts.
            let mut parts = value.split(',');
            let first = format!("--{key} {}", parts.next().expect("one at least"));
            let is_told = |part: &str| told.contains(part);
            assert!(
                is_told(&first) && parts.all(is_told),
                "{key} {value}: {told}"
            );
        }
        assert!(RunConfig::new(args).is_ok(), "{preset}");
    }
    let plain = |args: RunArgs| RunConfig {
        given: Given::default(),
        ..RunConfig::new(args).expect("defaults")
    };
    let watch = plain(run("", &["--preset", "watch"]));
    assert_eq!(format!("{watch:?}"), format!("{:?}", plain(run("", &[]))));
}

/// Values that are not the defaults. All of them together are taken.
const SAMPLES: &[(&str, &[&str])] = &[
    ("active-timeout", &["120"]),
    ("decap", &["gre", "vxlan:8472"]),
    ("interface", &["eth0", "ens*", "!veth*"]),
    ("capture", &["full"]),
    ("scan-scope", &["all"]),
    ("scan-target", &["host"]),
    ("scan-ports", &["7"]),
    ("scan-window", &["5m"]),
    ("local", &["10.0.0.0/8", "fd00::/8"]),
    ("allow", &["192.0.2.9", "[2001:db8::1]:443"]),
    ("output", &["text:-", "eve:/x\"\\y"]),
    ("text-format", &["full"]),
    ("direction", &["in", "transit"]),
    ("sensor", &["a b = \"c\"\n\t#'\u{7f}"]),
    ("fold", &["0"]),
    ("alert-rate", &["5"]),
    ("stats-interval", &["8"]),
    ("metrics", &["127.0.0.1:9477", "unix:/run/x", "textfile:/x"]),
    ("dark", &["192.0.2.0/28"]),
    ("workers", &["2"]),
    ("memory-mib", &["300"]),
    ("ring-mib", &["128"]),
    ("block-kib", &["1024"]),
    ("block-timeout-ms", &["7"]),
    ("shed", &["off"]),
    ("witness", &["64"]),
    ("block", &["dry-run"]),
    ("block-on", &["suspicious", "stealth_scan"]),
    ("block-times", &["90s", "7d"]),
    ("status-socket", &["/x/a b"]),
    ("status-group", &["adm"]),
    ("state", &["/x/state"]),
    ("takeover", &["/x/door"]),
    ("user", &["nobody"]),
];

/// Every flag of `run` with a sample, its default, or nothing if it is a switch. Left out: CPUs, which are this
/// host's, what another flag excludes or must go with, and what stands for other flags.
fn samples() -> Vec<(String, Vec<String>)> {
    let program = program::program();
    let command = program.find_subcommand("run").expect("it is there");
    let all = command.get_arguments().filter(|arg| is_key(arg));
    let left_out = ["cores", "verbose", "preset", "log-budget", "anonymize"];
    let all = all.filter(|arg| arg.get_long().is_some_and(|key| !left_out.contains(&key)));
    all.map(|arg| {
        let key = arg.get_long().expect("keys have names");
        let sample = SAMPLES.iter().find(|(sample, _)| *sample == key);
        let default = arg.get_default_values().iter();
        let default = default.map(|value| value.to_str().expect("UTF-8"));
        let values: Vec<&str> = match (sample, is_switch(arg)) {
            (Some((_, values)), _) => values.to_vec(),
            (None, true) => Vec::new(),
            (None, false) => default.collect(),
        };
        assert!(is_switch(arg) || !values.is_empty(), "no sample of --{key}");
        let values = values.into_iter().map(str::to_owned);
        (key.to_owned(), values.collect())
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_command_line_and_the_file_that_says_the_same_come_to_the_same(
        flags in subsequence(samples(), 0..=samples().len()),
    ) {
        let words: Vec<String> = flags
            .iter()
            .flat_map(|(key, values)| match values.is_empty() {
                true => vec![format!("--{key}")],
                false => values.iter().map(|value| format!("--{key}={value}")).collect(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let line = run("", &words);
        // What --dry-run prints is the file.
        let mut text = line.common.file.given.lines().join("\n");
        if line.dry_run {
            text += "\ndry-run = true";
        }
        let file = run(&text, &[]);
        prop_assert_eq!(file.common.file.given.settings.len(), flags.len());
        let config = |args| {
            let config = RunConfig::new(args).expect("every combination is taken");
            format!("{:?}", RunConfig { given: Given::default(), ..config })
        };
        prop_assert_eq!(config(file), config(line));
    }
}

#[test]
fn a_page_may_stand_behind_its_flag_and_no_capture_is_taken_for_one() {
    let read = |words: &[&str]| match cli("", &[&["read"], words].concat())
        .expect("it parses")
        .command
    {
        Subcommand::Read(args) => {
            let files = args.files.iter().map(|file| file.display().to_string());
            (args.report, files.collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    };
    let page = ReportSpec::Html("x".into());
    let one = |report: &ReportSpec, file: &str| (vec![report.clone()], vec![file.to_owned()]);
    assert_eq!(read(&["--report", "html:x", "a"]), one(&page, "a"));
    assert_eq!(read(&["--report=html:x", "a"]), one(&page, "a"));
    assert_eq!(read(&["a", "--report"]), one(&ReportSpec::Text, "a"));
    assert_eq!(read(&["--report", "a"]), one(&ReportSpec::Text, "a"));
    assert_eq!(
        read(&["--report", "./html:x"]),
        one(&ReportSpec::Text, "./html:x")
    );
    let (reports, files) = read(&["--report", "--", "html:x"]);
    assert_eq!((reports, files), one(&ReportSpec::Text, "html:x"));
    let (reports, files) = read(&["--", "--report", "html:x"]);
    assert_eq!(
        (reports, files),
        (vec![], vec!["--report".to_owned(), "html:x".to_owned()])
    );
}
