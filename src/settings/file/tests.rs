use super::*;

fn entries(text: &str) -> Result<Vec<FileEntry>, String> {
    let file = parse(Path::new("F"), text.as_bytes());
    file.map(|file| file.entries).map_err(|error| error.0)
}

#[test]
fn each_entry_has_its_line_and_its_value_as_written() {
    let text = "# first\r\n\nring-mib = 0x10\ninterface = [\"eth0\",\n  'ens*']\nseed = 18446744073709551615\n\
                promiscuous = true\nsensor = \"\"\"a\nb\"\"\"\n";
    let found = entries(text).expect("TOML");
    let brief = found.iter().map(|entry| {
        let FileEntry { key, line, .. } = entry;
        (key.as_str(), *line, entry.written.as_str())
    });
    let expected = [
        ("ring-mib", 3, "0x10"),
        ("interface", 4, "[\"eth0\", 'ens*']"),
        ("seed", 6, "18446744073709551615"),
        ("promiscuous", 7, "true"),
        ("sensor", 8, "\"\"\"a b\"\"\""),
    ];
    assert_eq!(brief.collect::<Vec<_>>(), expected);
    assert_eq!(found[0].value, EntryValue::One("16".to_owned()));
    let EntryValue::Many(items) = &found[1].value else {
        panic!("{:?}", found[1]);
    };
    let items: Vec<(usize, &str)> = items
        .iter()
        .map(|item| (item.line, item.value.as_str()))
        .collect();
    assert_eq!(items, [(4, "eth0"), (5, "ens*")]);
    assert_eq!(
        found[2].value,
        EntryValue::One("18446744073709551615".to_owned())
    );
    assert_eq!(found[3].value, EntryValue::Switch(true));
    assert_eq!(found[4].value, EntryValue::One("a\nb".to_owned()));
}

#[test]
fn unsupported_toml_values_are_named() {
    for (text, what) in [
        ("a = 1979-05-27", "a date"),
        ("a = [[1]]", "a list of lists"),
        ("a = [true]", "a list of switches"),
        ("a = {b = 1}", "a table"),
        ("[a]", "a table"),
        ("a.b = 1", "a table"),
        ("[[a]]", "a list of tables"),
    ] {
        let found = entries(text).expect("TOML");
        let what = match what {
            "a list of tables" => "a table",
            what => what,
        };
        assert_eq!(found[0].value, EntryValue::Other(what), "{text}");
    }
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    assert_eq!(
        entries("a = 1\na = 2"),
        Err("F line 2: a is given a second time".to_owned())
    );
    for (text, line) in [("a", 1), ("\n\n= 1", 3), ("a = \"x", 1)] {
        let error = entries(text).expect_err(text);
        let begins = format!("F line {line}: no TOML: ");
        assert!(error.starts_with(&begins), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = parse(Path::new("F"), b"a = 1\nb = '\xff'").expect_err("no UTF-8");
    assert_eq!(error.0, "F line 2: must be UTF-8");
}

#[test]
fn a_value_without_quotes_is_answered_with_what_its_flag_takes() {
    for (text, says) in [
        ("ring-mib =", "ring-mib has no value: ring-mib = VALUE"),
        ("ring-mib = # 64", "ring-mib has no value: ring-mib = VALUE"),
        (
            "ring-mib = 64M",
            "ring-mib = 64M: must be a whole number from 4 to 4096",
        ),
        (
            "shed = auto",
            "shed = auto: a text stands in quotes: shed = \"auto\"",
        ),
        (
            "promiscuous = yes",
            "promiscuous = yes: must be true or false",
        ),
        (
            "listen = 2s",
            "listen = 2s: a text stands in quotes: listen = \"2s\"",
        ),
        (
            "nosuch = 2s",
            "nosuch = 2s: a text stands in quotes: nosuch = \"2s\"",
        ),
    ] {
        let error = entries(&format!("# one\n{text}\n")).expect_err(text);
        assert_eq!(error, format!("F line 2: {says}"));
    }
}

#[test]
fn a_file_of_a_mebibyte_is_read_and_a_longer_one_is_not() {
    let longest = "#".repeat(1 << 20);
    assert_eq!(entries(&longest), Ok(Vec::new()));
    let says = "configuration file F: longer than 1 MiB";
    assert_eq!(entries(&format!("{longest}#")), Err(says.to_owned()));
    let endless = read(Path::new("/dev/zero")).expect_err("endless");
    assert_eq!(endless.0, "configuration file /dev/zero: longer than 1 MiB");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("missing.toml");
    let says = format!(
        "read failed for configuration file {}: No such file or directory",
        missing.display()
    );
    assert_eq!(read(&missing), Err(ConfigError(says)));
    assert_eq!(read_default(&missing), Ok(None));
    let below_a_file = dir.path().join("file");
    std::fs::write(&below_a_file, "").expect("a file");
    assert_eq!(read_default(&below_a_file.join("x.toml")), Ok(None));
    let says = format!(
        "read failed for configuration file {} (--config takes a file): Is a directory",
        dir.path().display()
    );
    assert_eq!(read(dir.path()), Err(ConfigError(says)));
    let error = read_default(dir.path()).expect_err("a folder");
    assert!(error.0.contains("(--no-config goes without it)"), "{error}");
}
