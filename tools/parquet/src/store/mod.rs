//! Where files go: a folder, or a bucket behind the protocol of S3. Both take a file whole or not at all.

mod bucket;
mod folder;

use crate::credentials::{Credentials, Secret};
use bucket::Bucket;
use bytes::Bytes;
use folder::Folder;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where files go, as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this host.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`.
    Bucket {
        /// The bucket.
        name: String,
        /// What comes before each path: empty, or a path without slashes at its ends.
        prefix: String,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.contains("://") || text.is_empty() {
                true => Err("must be a folder or s3://BUCKET/PREFIX".to_owned()),
                false => Ok(Self::Folder(text.into())),
            };
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_letter) {
            return Err("names no bucket: s3://BUCKET/PREFIX".to_owned());
        }
        let prefix = prefix.trim_matches('/').to_owned();
        let name = name.to_owned();
        Ok(Self::Bucket { name, prefix })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { name, prefix } => write!(f, "s3://{name}/{prefix}"),
        }
    }
}

/// How a bucket is reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// The server; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// Whether it may be reached without TLS.
    pub allow_http: bool,
}

/// A store that takes files.
#[derive(Debug)]
pub enum Store {
    /// Of this host.
    Folder(Folder),
    /// Of a server.
    Bucket(Box<Bucket>),
}

impl Store {
    /// Opens a place. A bucket is not reached before the first file.
    ///
    /// # Errors
    ///
    /// The settings do not fit each other. Secrets are not in it.
    pub fn open(place: &Place, reach: &Reach, credentials: &Credentials) -> Result<Self, String> {
        match place {
            Place::Folder(path) => Ok(Self::Folder(Folder::new(path.clone()))),
            Place::Bucket { name, prefix } => {
                let bucket = Bucket::open(name, prefix, reach, credentials)?;
                Ok(Self::Bucket(Box::new(bucket)))
            }
        }
    }

    /// Puts a file there, over one of the same name.
    ///
    /// # Errors
    ///
    /// What failed, for a person. The file is then there as before, or whole.
    pub fn put(&self, path: &str, file: Bytes, secret: &Secret) -> Result<(), String> {
        let put = match self {
            Self::Folder(folder) => folder.put(path, &file),
            Self::Bucket(bucket) => bucket.put(path, file),
        };
        put.map_err(|error| secret.hide(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_what_is_none_is_refused() {
        let bucket = |name: &str, prefix: &str| {
            Ok(Place::Bucket {
                name: name.into(),
                prefix: prefix.into(),
            })
        };
        assert_eq!("s3://b".parse(), bucket("b", ""));
        assert_eq!("s3://b/a/c/".parse(), bucket("b", "a/c"));
        assert_eq!("x/y".parse(), Ok(Place::Folder("x/y".into())));
        for wrong in ["", "s3://", "s3:///x", "s3://a:b@c/x", "gs://x/y"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
