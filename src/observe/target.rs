//! The values of `--metrics`: where metrics are to be had.

use super::address::MetricsAddress;
use super::socket::{Place, SocketFile};
use super::textfile::{self, Textfile};
use crate::words::shown;
use nix::unistd::{Gid, Uid};
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `sun_path` of sockaddr_un, less its zero.
const SOCKET_PATH_MAX: usize = 107;

/// One `--metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsTarget {
    /// HTTP at an address.
    Http(MetricsAddress),
    /// HTTP at a socket: its path, which is absolute.
    Unix(PathBuf),
    /// A file in this folder, whose path is absolute, for the textfile collector of node_exporter.
    Textfile(PathBuf),
}

impl FromStr for MetricsTarget {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        match value.split_once(':') {
            Some(("unix", path)) => {
                let path = absolute(path, "unix:/run/synledger/metrics.sock")?;
                let length = path.as_os_str().len();
                match length <= SOCKET_PATH_MAX {
                    true => Ok(Self::Unix(path)),
                    false => Err(format!(
                        "the path of a socket has at most {SOCKET_PATH_MAX} bytes, not {length}"
                    )),
                }
            }
            Some(("textfile", path)) => {
                let example = "textfile:/var/lib/prometheus/node-exporter";
                absolute(path, example).map(Self::Textfile)
            }
            _ => value.parse().map(Self::Http),
        }
    }
}

fn absolute(path: &str, example: &str) -> Result<PathBuf, String> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(format!("the path must begin with /, such as {example}")),
    }
}

impl fmt::Display for MetricsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", shown(path)),
            Self::Textfile(folder) => write!(f, "textfile:{}", shown(folder)),
        }
    }
}

/// Listeners, sockets and files of all targets.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    pub tcp: Vec<TcpListener>,
    pub unix: Vec<UnixListener>,
    pub textfiles: Vec<Textfile>,
    /// The sockets' files, which are removed with this.
    pub sockets: Vec<SocketFile>,
}

impl Exits {
    /// Gives what was made to the user as whom the run goes on.
    ///
    /// # Errors
    ///
    /// As chown(2).
    pub(crate) fn give(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        let mut sockets = self.sockets.iter();
        sockets.try_for_each(|socket| socket.give(Some(uid), Some(gid)))
    }
}

impl MetricsTarget {
    /// Where a person finds the metrics.
    pub fn location(&self) -> String {
        match self {
            Self::Http(address) => address.url(),
            Self::Unix(path) => format!("http://localhost/metrics at the socket {}", shown(path)),
            Self::Textfile(folder) => shown(&folder.join(textfile::FILE)).to_string(),
        }
    }

    /// The file that is written; `None`: none is.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Textfile(folder) => Some(folder.join(textfile::FILE)),
            Self::Http(_) | Self::Unix(_) => None,
        }
    }

    /// The socket that is bound; `None`: none is.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Http(_) | Self::Textfile(_) => None,
        }
    }

    /// Opens it, and adds it to `exits`.
    ///
    /// # Errors
    ///
    /// One sentence with the flag, its value, and what to do.
    pub(crate) fn open(&self, exits: &mut Exits) -> Result<(), String> {
        match self {
            Self::Http(address) => exits.tcp.extend(listen(address)?),
            Self::Unix(path) => {
                let (listener, file) = place(path).bind(None)?;
                exits.unix.push(listener);
                exits.sockets.push(file);
            }
            Self::Textfile(folder) => exits.textfiles.push(Textfile::open(folder)?),
        }
        Ok(())
    }

    /// Whether the calling user could write the file again and again, if there is one; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(crate) fn would_write(&self) -> Result<(), String> {
        match self {
            Self::Textfile(folder) => Textfile::would_write(folder),
            Self::Http(_) | Self::Unix(_) => Ok(()),
        }
    }

    /// Whether it could be opened; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(crate) fn would_open(&self) -> Result<(), String> {
        match self {
            Self::Http(address) => listen(address).map(drop),
            Self::Unix(path) => place(path).would_bind(),
            Self::Textfile(folder) => Textfile::open(folder).map(drop),
        }
    }

    /// Whether it could be opened if whoever holds it now, as a sensor that runs, let it go; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(crate) fn would_open_after(&self) -> Result<(), String> {
        match self {
            Self::Http(address) if address.is_in_use() => Ok(()),
            Self::Unix(path) if place(path).is_served() => Ok(()),
            Self::Textfile(folder) => Textfile::would_write(folder),
            Self::Http(_) | Self::Unix(_) => self.would_open(),
        }
    }
}

fn place(path: &Path) -> Place<'_> {
    Place {
        flag: "--metrics unix:",
        path,
        makes_directory: false,
    }
}

fn listen(address: &MetricsAddress) -> Result<Vec<TcpListener>, String> {
    let listeners = address.listen();
    listeners
        .map_err(|error| format!("--metrics {address}: {error}; choose another address or port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_a_socket_or_a_folder() {
        let read = |value: &str| value.parse::<MetricsTarget>();
        for value in [
            "127.0.0.1:9477",
            "unix:/run/a b.sock",
            "textfile:/var/lib/n:e",
        ] {
            let target = read(value).expect(value);
            assert_eq!(target.to_string(), value);
        }
        let target = read("unix:/x").expect("a socket");
        assert_eq!(target.socket(), Some(Path::new("/x")));
        assert_eq!(target.file(), None);
        let target = read("textfile:/x").expect("a folder");
        assert_eq!(target.file(), Some("/x/synledger.prom".into()));
        assert_eq!(target.location(), "/x/synledger.prom");
        let long = format!("unix:/{}", "x".repeat(SOCKET_PATH_MAX));
        for (value, words) in [
            ("unix:9477", "must begin with /, such as unix:/run/"),
            ("unix:", "must begin with /"),
            ("textfile:x", "must begin with /, such as textfile:/var/"),
            (&long, "at most 107 bytes, not 108"),
            ("udp:x", "unix:/PATH"),
        ] {
            let error = read(value).expect_err(value);
            assert!(error.contains(words), "{value}: {error}");
        }
        assert!(read(&long[..long.len() - 1]).is_ok());
    }
}
