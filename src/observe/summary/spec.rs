//! Parses `--report[=text|html:FILE]`.

use crate::log::sinks::spec::Target;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Where a report goes, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportSpec {
    /// Text on standard output.
    Text,
    /// A page in this file, which is replaced atomically.
    Html(PathBuf),
}

impl ReportSpec {
    /// The file or stream that it writes.
    pub fn target(&self) -> Target {
        match self {
            Self::Text => Target::Stdout,
            Self::Html(path) => Target::Path(path.clone()),
        }
    }

    /// Whether an argument behind `--report` is its value: nobody's capture is named like that.
    pub fn is_value(word: &OsStr) -> bool {
        word.as_encoded_bytes().starts_with(b"html:")
    }
}

/// The report of a value.
///
/// # Errors
///
/// Says what is allowed.
pub fn parse(value: &str) -> Result<ReportSpec, String> {
    match (value, value.strip_prefix("html:")) {
        ("text", _) => Ok(ReportSpec::Text),
        (_, Some("" | "-")) => Err("a page needs a file: html:FILE".to_owned()),
        (_, Some(path)) if path.ends_with('/') => {
            Err("the file ends with a slash: name a file".to_owned())
        }
        (_, Some(path)) => Ok(ReportSpec::Html(path.into())),
        _ => Err("must be text or html:FILE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_text_or_a_page_in_a_file() {
        assert_eq!(parse("text"), Ok(ReportSpec::Text));
        let page = ReportSpec::Html("a,b:c.html".into());
        assert_eq!(parse("html:a,b:c.html"), Ok(page));
        for (value, says) in [
            ("html:", "needs a file"),
            ("html:-", "needs a file"),
            ("html:dir/", "ends with a slash"),
            ("HTML:a", "must be text or html:FILE"),
            ("", "must be text or html:FILE"),
            ("trace.pcap", "must be text or html:FILE"),
        ] {
            let error = parse(value).expect_err(value);
            assert!(error.contains(says), "{value}: {error}");
        }
    }
}
