use super::super::tests::row;
use super::*;

#[test]
fn a_table_has_a_line_for_each_program_and_load() {
    let rows = [
        row("synledger", "mix", "file_rate", 4e6, 1),
        row("synledger", "mix", "file_rate", 5e6, 2),
        row("tcpdump", "mix", "file_rate", 1e6, 1),
        row("tcpdump", "mix", "file_times", 4.0, 1),
        row("tcpdump", "mix", "file_connections_of_truth", 1.0, 1),
        row("tcpdump", "mix", "loss_1x", 0.0, 1),
    ];
    let tables = all(&rows);
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    assert_eq!(names, ["live", "files", "subjects"]);
    let files = &tables[1];
    assert_eq!(files.lines.len(), 2);
    assert_eq!(
        files.lines[0][..3],
        ["mix", "synledger", "4.50 (4.00–5.00)"]
    );
    assert_eq!(files.lines[1][2..5], ["1.00", "4.00", ""]);
    assert_eq!(files.lines[1][7], "100 %");
    let text = files.markdown();
    assert!(
        text.starts_with("\n| capture | program |") && text.contains("|---|"),
        "{text}"
    );
    assert!(
        text.contains("commit abc") && text.contains("`loadtest compare`"),
        "{text}"
    );
}

#[test]
fn names_are_unique_and_every_table_has_columns_and_a_note() {
    let mut names = std::collections::BTreeSet::new();
    for spec in &SPECS {
        assert!(names.insert(spec.name), "{}", spec.name);
        assert!(
            spec.columns.len() > 3 && !spec.note.is_empty(),
            "{}",
            spec.name
        );
    }
}

#[test]
fn books_are_summed_over_all_floods() {
    let rows: Vec<Row> = (1..=3)
        .flat_map(|run| {
            [
                ("sent", 1000.0),
                ("dropped", 100.0),
                ("unaccounted_frames", 1.0),
            ]
            .map(|(metric, value)| {
                let mut row = row("synledger", "syn", metric, value, run);
                row.experiment = "books".to_owned();
                row.depth = "headers".to_owned();
                row
            })
        })
        .collect();
    let tables = all(&rows);
    assert_eq!(
        tables[0].lines[0][..6],
        ["syn", "headers", "3", "", "10.00 %", "3"]
    );
}

#[test]
fn a_table_names_the_programs_it_lacks_and_why_zeek_is_none_of_them() {
    let rows = [
        row("synledger", "mix", "file_rate", 4e6, 1),
        row("suricata", "mix", "file_rate", 1e6, 1),
        row("suricata", "mix", "cpu_process", 1e6, 1),
    ];
    let tables = all(&rows);
    let note = |name: &str| {
        let table = tables.iter().find(|table| table.name == name);
        table.expect(name).note.clone()
    };
    let (live, files) = (note("live"), note("files"));
    for (note, absent) in [
        (
            &files,
            "synledger-text, tcpdump, nfpcapd, softflowd, argus, tshark",
        ),
        (&live, "tcpdump, tcpdump-headers, nfpcapd, softflowd"),
    ] {
        let told =
            format!("Not measured (not installed, not asked for, or failed): {absent}. Zeek is");
        assert!(note.contains(&told), "{note}");
        assert!(note.contains("Zeek is not measured: Debian 12"), "{note}");
    }
    let books = &all(&[{
        let mut row = row("synledger", "syn", "sent", 1.0, 1);
        row.experiment = "books".to_owned();
        row
    }])[0];
    assert!(!books.note.contains("not measured"), "{}", books.note);
}

#[test]
fn cpu_time_per_frame_is_told_as_a_slope_beside_the_absolute_time() {
    let rows = [
        row("synledger", "mix", "file_rate", 4e6, 1),
        row("synledger", "mix", "file_cpu", 0.9, 1),
        row("synledger", "mix", "file_cpu_slope", 412.0, 1),
        row("tcpdump", "mix", "file_rate", 1e6, 1),
    ];
    let tables = all(&rows);
    let files = tables.iter().find(|table| table.name == "files");
    let files = files.expect("files");
    let at = |head: &str| {
        let found = files.head.iter().position(|one| *one == head);
        let column = found.expect(head);
        [0, 1].map(|line: usize| files.lines[line][column].as_str())
    };
    assert_eq!(at("CPU ns per frame (slope)"), ["412", "not measured"]);
    assert_eq!(at("CPU s, whole process"), ["0.900", "not measured"]);
    assert!(files.note.contains("is a slope"), "{}", files.note);
}
