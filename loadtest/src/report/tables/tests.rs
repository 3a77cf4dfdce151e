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
    assert_eq!(files.lines[1][2..6], ["1.00", "4.00", "", "100 %"]);
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
