//! Credentials of a bucket: read from the environment or a file, and shown nowhere.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What a secret is replaced by in every text that is printed.
const HIDDEN: &str = "[hidden]";
/// Names whose values are secrets, in lower case.
const SECRET: [&str; 3] = ["secret_access_key", "session_token", "access_key_id"];

/// Settings of the client by the names that Amazon's own tools have.
#[derive(Clone, Default)]
pub struct Credentials(Vec<(String, String)>);

/// Values that are printed nowhere.
#[derive(Clone, Default)]
pub struct Secret(Vec<String>);

/// Names alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Secret {
    /// The text with each secret value replaced.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.0 {
            text = text.replace(value.as_str(), HIDDEN);
        }
        text
    }
}

impl Credentials {
    /// The variables of the environment whose names begin with `AWS_`.
    pub fn of_environment(variables: impl Iterator<Item = (String, String)>) -> Self {
        let is_ours = |(name, _): &(String, String)| name.starts_with("AWS_");
        Self(variables.filter(is_ours).collect())
    }

    /// A file's lines `NAME = VALUE`, with the names of the environment or of `~/.aws/credentials`; they go before what
    /// is there already. Sections and comments are skipped.
    ///
    /// # Errors
    ///
    /// The file cannot be read, others may read it, or it has another line. The line's text is not in it.
    pub fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let name = path.display();
        let about = fs::metadata(path).map_err(|error| format!("{name}: {error}"))?;
        if about.permissions().mode() & 0o007 != 0 {
            return Err(format!("{name}: everybody may read it: chmod o= {name}"));
        }
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim().trim_start_matches("export ");
            if line.is_empty() || line.starts_with(['#', ';', '[']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(format!("{name}:{}: not NAME = VALUE", at + 1));
            };
            let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
            self.0.retain(|(old, _)| !old.eq_ignore_ascii_case(key));
            self.0.push((key.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// Names in lower case, as the client knows them, and values.
    pub fn settings(&self) -> impl Iterator<Item = (String, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
            // Amazon's own tools have more settings than the client knows.
            .filter(|(name, _)| KNOWN.contains(&name.as_str()))
    }

    /// The values that must not be printed.
    pub fn secret(&self) -> Secret {
        let is_secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            SECRET.iter().any(|end| name.ends_with(end))
        };
        let all = self
            .0
            .iter()
            .filter(|(name, value)| is_secret(name) && value.len() > 3);
        Secret(all.map(|(_, value)| value.clone()).collect())
    }
}

/// Settings that reach the client.
const KNOWN: [&str; 13] = [
    "aws_allow_http",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_default_region",
    "aws_region",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "aws_virtual_hosted_style_request",
    "aws_web_identity_token_file",
    "aws_role_arn",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_before_the_environment_and_no_secret_is_printed() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "[default]\n# ours\naws_access_key_id = KEYKEY\naws_secret_access_key='s3cr3t/x'\nregion=eu\n";
        fs::write(file.path(), text).expect("written");
        let variables = [
            ("AWS_ACCESS_KEY_ID", "OLD1"),
            ("AWS_SESSION_TOKEN", "token-1"),
            ("PATH", "/bin"),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut all = Credentials::of_environment(owned.into_iter());
        all.add_file(file.path()).expect("read");
        let settings: Vec<_> = all.settings().collect();
        assert!(settings.contains(&("aws_access_key_id".into(), "KEYKEY")));
        assert!(settings.contains(&("aws_session_token".into(), "token-1")));
        assert_eq!(settings.len(), 3, "{all:?}");
        let shown = format!("{all:?} {:?}", all.secret());
        let hidden = all.secret().hide("PUT KEYKEY s3cr3t/x token-1 failed");
        for secret in ["KEYKEY", "s3cr3t/x", "token-1"] {
            assert!(!shown.contains(secret) && !hidden.contains(secret));
        }
        assert_eq!(hidden, "PUT [hidden] [hidden] [hidden] failed");
    }

    #[test]
    fn a_file_that_everybody_reads_or_with_another_line_is_refused_without_its_text() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "\nhunter2\n").expect("written");
        let error = Credentials::default()
            .add_file(file.path())
            .expect_err("no");
        assert!(error.ends_with(":2: not NAME = VALUE"), "{error}");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).expect("set");
        let error = Credentials::default()
            .add_file(file.path())
            .expect_err("no");
        assert!(error.contains("everybody may read it"), "{error}");
        assert!(!error.contains("hunter2"));
    }
}
