//! Tables in a Markdown file, between comments as markers: `<!-- load:NAME -->` and `<!-- /load -->`.

use anyhow::{Context, Result, bail};

use super::Table;

const OPEN: &str = "<!-- load:";
const OPEN_END: &str = " -->";
const CLOSE: &str = "<!-- /load -->";

/// The text with every table rewritten.
///
/// # Errors
///
/// For a start marker without an end marker, an end without a start, and a table without measurements.
pub fn rewrite(text: &str, tables: &[Table]) -> Result<String> {
    let (mut out, mut inside) = (String::new(), None);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let word = line.trim_end();
        if let Some(rest) = word.strip_prefix(OPEN) {
            if let Some((name, at)) = inside {
                bail!("line {number}: a table begins inside load:{name} of line {at}");
            }
            let name = rest.strip_suffix(OPEN_END);
            let name =
                name.with_context(|| format!("line {number}: {word}: {OPEN}NAME{OPEN_END}"))?;
            out += line;
            out += &table(name, tables).with_context(|| format!("line {number}"))?;
            inside = Some((name, number));
        } else if word == CLOSE {
            if inside.take().is_none() {
                bail!("line {number}: {CLOSE} ends no table");
            }
            out += line;
        } else if inside.is_none() {
            out += line;
        }
    }
    match inside {
        Some((name, at)) => bail!("line {at}: load:{name} has no {CLOSE}"),
        None => Ok(out),
    }
}

fn table(name: &str, tables: &[Table]) -> Result<String> {
    let found = tables.iter().find(|table| table.name == name);
    found.map(Table::markdown).with_context(|| {
        let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
        format!(
            "load:{name}: no measurements; there are: {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{read, tables};
    use super::*;

    fn one() -> Vec<Table> {
        let rows = [super::super::tests::row(
            "synledger",
            "mix",
            "file_rate",
            2e6,
            1,
        )];
        tables::all(&rows)
    }

    #[test]
    fn only_text_between_markers_is_rewritten() {
        let text = "# Title\n<!-- load:files -->\nold\n<!-- /load -->\nend";
        let rewritten = rewrite(text, &one()).expect("written");
        assert!(
            rewritten.starts_with("# Title\n<!-- load:files -->\n\n| "),
            "{rewritten}"
        );
        assert!(
            rewritten.ends_with("\n<!-- /load -->\nend") && !rewritten.contains("old"),
            "{rewritten}"
        );
        assert_eq!(rewrite(&rewritten, &one()).expect("again"), rewritten);
        assert_eq!(
            rewrite("no markers\n", &[]).expect("as it is"),
            "no markers\n"
        );
    }

    #[test]
    fn errors_name_the_line_of_a_wrong_marker() {
        for (text, message) in [
            ("a\n<!-- load:files -->\n", "line 2: load:files has no"),
            ("<!-- /load -->\n", "line 1: <!-- /load --> ends no table"),
            (
                "<!-- load:files -->\n<!-- load:files -->\n",
                "line 2: a table begins inside load:files of line 1",
            ),
            (
                "<!-- load:nothing -->\n<!-- /load -->\n",
                "load:nothing: no measurements; there are: files",
            ),
            ("<!-- load:files>\n", "line 1"),
        ] {
            let error = rewrite(text, &one()).expect_err(text);
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }

    /// Every table of RESULTS.md between markers is generated from the measurements in the repository.
    #[test]
    fn tables_of_results_are_those_of_the_measurements() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rows = read(&root.join("results")).expect("measurements");
        let text = std::fs::read_to_string(root.join("RESULTS.md")).expect("RESULTS.md");
        let rewritten = rewrite(&text, &tables::all(&rows)).expect("its markers are right");
        let tables = text.matches(OPEN).count();
        eprintln!("{tables} tables of RESULTS.md, {} figures", rows.len());
        assert!(tables >= 7, "{tables} markers");
        assert_eq!(text, rewritten, "make load-results rewrites them");
    }
}
