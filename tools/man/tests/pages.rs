//! Every flag is in its page, every member of a record is documented, and the pages render.

use clap::Parser;
use man::sections::Block;
use man::{Written, commands, completions, page, sections};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use synledger::settings::flags::{self, Cli};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A page without roff's escapes and fonts.
fn plain(page: &Written) -> String {
    let text = String::from_utf8(page.bytes.clone()).expect("UTF-8");
    ["\\fB", "\\fI", "\\fR", "\\&"]
        .iter()
        .fold(text.replace("\\-", "-"), |text, font| {
            text.replace(font, "")
        })
}

fn page_of(name: &str) -> String {
    let all = commands();
    let found = all.iter().find(|one| one.get_name() == name).expect(name);
    plain(&page(found).expect("memory"))
}

#[test]
fn every_flag_of_the_help_is_in_its_page() {
    for mut command in commands() {
        let page = plain(&page(&command).expect("memory"));
        let help = command.render_long_help().to_string();
        let flags: BTreeSet<&str> = help
            .lines()
            .filter(|line| line.trim_start().starts_with('-'))
            .flat_map(|line| line.split([' ', ',']))
            .filter(|word| word.starts_with("--"))
            .collect();
        assert!(flags.len() >= 2, "{help}");
        for flag in &flags {
            assert!(page.contains(flag), "{}: {flag}", command.get_name());
        }
        eprintln!("{}: {} flags", command.get_name(), flags.len());
    }
}

#[test]
fn every_page_has_all_sections() {
    for command in commands() {
        let page = plain(&page(&command).expect("memory"));
        let mut expected = vec![
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "SIGNALS",
            "RESTARTS",
            "SANDBOX",
            "CONFIGURATION",
            "OUTPUT FORMAT",
            "ROTATION",
            "COLLECTORS",
            "PARQUET",
            "FILES",
            "EXAMPLES",
            "SEE ALSO",
        ];
        let name = command.get_name();
        // `check`, `block` and `top` handle no signals.
        expected.retain(|&title| title != "SIGNALS" || !matches!(name, "check" | "block" | "top"));
        let writes = matches!(name, "run" | "read");
        expected.retain(|it| !["ROTATION", "COLLECTORS", "PARQUET"].contains(it) || writes);
        expected.retain(|it| !["RESTARTS", "SANDBOX"].contains(it) || name == "run");
        let heading = |line: &str| {
            line.strip_prefix(".SH ")
                .map(|it| it.trim_matches('"').to_owned())
        };
        let mut found: Vec<String> = page.lines().filter_map(heading).collect();
        found.retain(|it| it != "SUBCOMMANDS");
        assert_eq!(found, expected, "{}", command.get_name());
    }
}

#[test]
fn pages_render_without_warnings() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut groff = Command::new("groff");
    let is_here = groff.arg("--version").stdout(Stdio::null()).status();
    if !is_here.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs groff");
        return;
    }
    for name in man::write_all(dir.path()).expect("written") {
        if !name.ends_with(".1") && !name.ends_with(".7") {
            continue;
        }
        let output = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-rLL=80n"])
            .arg(dir.path().join(&name))
            .output()
            .expect("groff starts");
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && warnings.is_empty(),
            "{name}: {warnings}"
        );
        assert!(output.stdout.len() > 1000, "{name} is empty");
        let source = std::fs::read(dir.path().join(&name)).expect("it was written");
        assert!(
            source.is_ascii(),
            "{name}: not all terminals render other characters"
        );
    }
}

/// The blocks of all sections of all pages.
fn blocks() -> Vec<Block> {
    let names = commands();
    let names = names
        .iter()
        .map(|one| one.get_display_name().unwrap_or(one.get_name()));
    names
        .flat_map(sections::of)
        .flat_map(|section| section.blocks.iter().copied())
        .collect()
}

#[test]
fn examples_are_command_lines_that_parse() {
    let mut parsed = 0;
    for block in blocks() {
        let Block::Lines(lines) = block else { continue };
        for line in lines.iter().filter_map(|line| line.rsplit(" | ").next()) {
            if !line.starts_with("synledger ") {
                continue;
            }
            let words = line.split_whitespace().map(|word| word.trim_matches('\''));
            let command =
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            if let flags::Command::Run(args) = command.command {
                let cores = args.common.cores.is_some();
                let config = synledger::settings::RunConfig::new(args);
                assert!(config.is_ok() || cores, "{line}: {config:?}");
            }
            parsed += 1;
        }
    }
    assert!(parsed >= 10, "{parsed} examples");
}

#[test]
fn the_script_that_loads_a_list_is_the_tested_one() {
    let file = root().join("tools/man/load_into_nftables.sh");
    let script = std::fs::read_to_string(file).expect("the script");
    let is_script = |block: &Block| match block {
        Block::Lines(lines) => script.lines().eq(lines.iter().copied()),
        _ => false,
    };
    assert!(blocks().iter().any(is_script), "{script}");
}

/// Names of all members of a JSON value.
fn members(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                members(value, names);
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| members(value, names)),
        _ => {}
    }
}

/// The EVE log that `read` writes of `capture`.
fn eve(dir: &Path, capture: &craft::Capture) -> String {
    let (file, log) = (dir.join("capture.pcap"), dir.join("eve"));
    std::fs::write(&file, capture.to_pcap(craft::PcapFormat::NANOS)).expect("a file");
    let output = format!("eve:{}", log.display());
    let words = ["synledger", "read", "-q", "--output", &output];
    let words = words
        .into_iter()
        .map(Into::into)
        .chain([file.into_os_string()]);
    let flags::Command::Read(args) = Cli::parse_from(words).command else {
        panic!("read was asked for");
    };
    assert_eq!(synledger::commands::read(args).expect("it is read"), 0);
    std::fs::read_to_string(log).expect("a log")
}

#[test]
fn every_member_of_a_record_is_documented() {
    let dir = tempfile::tempdir().expect("a folder");
    let captures: Vec<craft::Capture> = craft::scenarios(7)
        .into_iter()
        .filter(|capture| capture.link == craft::LinkType::Ethernet)
        .collect();
    let log = eve(dir.path(), &craft::merge(&captures, 7));
    let mut names = BTreeSet::new();
    for line in log.lines() {
        members(&serde_json::from_str(line).expect("JSON"), &mut names);
    }
    for kind in ["new_connection", "flow", "alert"] {
        assert!(
            log.contains(&format!("\"event_type\":\"{kind}\"")),
            "no {kind}"
        );
    }
    eprintln!("{} members in {} records", names.len(), log.lines().count());
    let page = page_of("read");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "the page lacks {missing:?}");
}

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "samples.rs"
        }) {
            let text = std::fs::read_to_string(path).expect("UTF-8");
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.push(shipped.to_owned());
        }
    }
}

#[test]
fn every_lifecycle_word_is_documented() {
    let mut all = Vec::new();
    sources(&root().join("src"), &mut all);
    let mut words = BTreeSet::new();
    for text in &all {
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        for call in [
            ".record(",
            ".record_with(",
            ".report(",
            "let word =",
            "let (word,",
        ] {
            for rest in text.split(call).skip(1) {
                // The string literals of the statement.
                let statement = rest.split(';').next().unwrap_or_default();
                words.extend(statement.split('"').skip(1).step_by(2).filter(is_word));
            }
        }
        for call in ["word:", "event(", "set_notice(", "lifecycle(now_ns,"] {
            for rest in text.split(call).skip(1) {
                let literal = rest.trim_start().strip_prefix('"');
                let word = literal.and_then(|rest| rest.split('"').next());
                words.extend(word.filter(is_word));
            }
        }
    }
    for word in [
        "start",
        "link_up",
        "books_open",
        "witness_extra",
        "degradation",
        "blocklist_failed",
        "loss_began",
    ] {
        assert!(words.contains(word), "no {word}: {words:?}");
    }
    let page = page_of("run");
    let missing: Vec<_> = words.iter().filter(|word| !page.contains(**word)).collect();
    assert!(missing.is_empty(), "the page lacks {missing:?}");
}

#[test]
fn completions_know_commands_and_flags() {
    for Written { name, bytes } in completions() {
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        for word in ["run", "read", "check", "block", "fanout", "scan-window"] {
            assert!(text.contains(word), "{name}: {word}");
        }
        if name == "synledger.bash" {
            let dir = tempfile::tempdir().expect("a folder");
            let file = dir.path().join(&name);
            std::fs::write(&file, bytes).expect("a file");
            let status = Command::new("bash").arg("-n").arg(file).status();
            assert!(status.expect("bash").success());
        }
    }
}

/// The completion of this name.
fn completion(name: &str) -> String {
    let written = completions().into_iter().find(|one| one.name == name);
    String::from_utf8(written.expect(name).bytes).expect("UTF-8")
}

#[test]
fn bash_offers_interfaces_behind_the_flag_and_behind_a_comma() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("completion");
    std::fs::write(&file, completion("synledger.bash")).expect("a file");
    let offered = |words: &[&str]| -> Vec<String> {
        let asked = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                     _synledger \"$1\" \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let bash = Command::new("bash")
            .args(["-c", asked, "bash"])
            .arg(&file)
            .arg("synledger")
            .args(words)
            .current_dir(&dir)
            .output()
            .expect("bash starts");
        assert!(bash.stderr.is_empty(), "{bash:?}");
        let text = String::from_utf8(bash.stdout).expect("UTF-8");
        text.split_whitespace().map(str::to_owned).collect()
    };
    let net = std::fs::read_dir("/sys/class/net").expect("sysfs");
    let names = net.map(|entry| entry.expect("an entry"));
    let names = names.filter(|entry| entry.path().is_dir());
    let mut all: Vec<String> = names
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    all.extend(["auto".to_owned(), "any".to_owned()]);
    all.sort();
    for flags in [
        ["run", "-i"],
        ["run", "--interface"],
        ["check", "-i"],
        ["check", "--interface"],
    ] {
        let mut found = offered(&[&flags[..], &[""]].concat());
        found.sort();
        assert_eq!(found, all, "{flags:?}");
    }
    assert_eq!(offered(&["run", "-i", "lo"]), ["lo"]);
    assert_eq!(offered(&["run", "-i", "auto,l"]), ["auto,lo"]);
    let shed = offered(&["run", "--shed", ""]);
    assert_eq!(shed, ["auto", "off"]);
    assert_eq!(offered(&["run", "--preset", "e"]), ["edge"]);
    assert_eq!(offered(&["check", "--fanout", ""]).len(), 4);
}

/// Asserts that a shell accepts the completion of this name; prints a line if the shell is not installed.
fn parses(shell: &str, name: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join(name);
    std::fs::write(&file, completion(name)).expect("a file");
    match Command::new(shell).arg("-n").arg(&file).status() {
        Ok(status) => assert!(status.success(), "{shell}"),
        Err(error) => eprintln!("{shell} did not parse it: {error}"),
    }
}

#[test]
fn zsh_and_fish_offer_interfaces_too() {
    let zsh = completion("_synledger");
    assert!(zsh.starts_with("#compdef synledger\n"), "{zsh}");
    assert_eq!(zsh.matches(":LIST:_synledger_interfaces'").count(), 4);
    assert_eq!(zsh.matches("\n_synledger_interfaces() {\n").count(), 1);
    parses("zsh", "_synledger");
    let fish = completion("synledger.fish");
    let offers = |line: &&str| {
        line.contains("-l interface ") && line.ends_with("-r -f -a '(__synledger_interfaces)'")
    };
    assert_eq!(fish.lines().filter(offers).count(), 2);
    assert!(fish.starts_with("function __synledger_interfaces\n"));
    parses("fish", "synledger.fish");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("completion");
    std::fs::write(&file, fish).expect("a file");
    let script =
        "source $argv[1]; complete -C 'synledger run -i '; complete -C 'synledger check -i any,l'";
    let asked = Command::new("fish")
        .args(["--no-config", "-c", script])
        .arg(file)
        .output();
    let Ok(asked) = asked else {
        return;
    };
    let text = String::from_utf8(asked.stdout).expect("UTF-8");
    let offered: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for name in ["auto", "any", "lo", "any,lo"] {
        assert!(offered.contains(name), "{name}: {text}");
    }
}

#[test]
fn make_installs_program_pages_and_completions() {
    let dir = tempfile::tempdir().expect("a folder");
    let pages = dir.path().join("pages");
    let names = man::write_all(&pages).expect("written");
    let (into, program) = (dir.path().join("into"), env!("CARGO_BIN_EXE_man"));
    let output = Command::new("make")
        .args(["-s", "install-files", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", into.display()))
        .arg(format!("MAN={}", pages.display()))
        .arg(format!("BIN={program}"))
        .current_dir(root())
        .output()
        .expect("make starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let installed = |path: &str| into.join("usr").join(path).is_file();
    assert!(installed("bin/synledger"));
    let sections = |path: &str| {
        let listed = Command::new("readelf")
            .args(["-SW"])
            .arg(into.join("usr").join(path))
            .output();
        String::from_utf8(listed.expect("binutils are here").stdout).expect("UTF-8")
    };
    let (stripped, symbols) = (
        sections("bin/synledger"),
        sections("bin/.debug/synledger.debug"),
    );
    for section in [".debug_line", ".symtab"] {
        assert!(symbols.contains(section), "{symbols}");
        assert!(!stripped.contains(section), "{stripped}");
    }
    assert!(stripped.contains(".gnu_debuglink"), "{stripped}");
    let ran = Command::new(into.join("usr/bin/synledger")).output();
    assert_eq!(ran.expect("it still runs").status.code(), Some(2));
    for name in names {
        let place = match name.as_str() {
            "synledger.bash" => "share/bash-completion/completions/synledger".to_owned(),
            "_synledger" => "share/zsh/site-functions/_synledger".to_owned(),
            "synledger.toml" => "share/doc/synledger/synledger.toml".to_owned(),
            "synledger.fish" => "share/fish/vendor_completions.d/synledger.fish".to_owned(),
            page if page.ends_with(".7") => format!("share/man/man7/{page}"),
            page => format!("share/man/man1/{page}"),
        };
        assert!(installed(&place), "{place}");
    }

    let other = into.join("usr/share/man/man1/other.1");
    std::fs::write(&other, "a page of another program").expect("a file");
    let output = Command::new("make")
        .args(["-s", "uninstall", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", into.display()))
        .current_dir(root())
        .output()
        .expect("make starts");
    assert!(output.status.success(), "{output:?}");
    let files = Command::new("find")
        .arg(&into)
        .args(["!", "-type", "d"])
        .output();
    let left = String::from_utf8(files.expect("find starts").stdout).expect("UTF-8");
    assert_eq!(left.trim_end(), other.display().to_string());
    assert!(!into.join("usr/bin/.debug").exists());
}

/// Writes an executable shell script.
fn script(path: &Path, lines: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{lines}\n")).expect("a file");
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, runs).expect("our own file");
}

#[test]
fn only_the_log_is_on_standard_output_of_make_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let [cargo, program] = ["cargo", "program"].map(|name| dir.path().join(name));
    script(&cargo, "echo \"cargo: $*\"");
    script(&program, "echo \"log: $*\"");
    let output = Command::new("make")
        .args(["run", "SUDO=", "ARGS=-i lo"])
        .arg(format!("CARGO={}", cargo.display()))
        .arg(format!("BIN={}", program.display()))
        .current_dir(root())
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .expect("make starts");
    let [log, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    assert_eq!(log, "log: run -i lo\n");
    assert!(
        errors.contains("cargo: build --release --locked"),
        "{errors}"
    );
}
