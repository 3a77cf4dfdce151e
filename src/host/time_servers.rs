//! The time servers of this host, where its configuration names them by address.
//!
//! Names are not looked up: that would send packets, and wait for an answer. Of a server that is named by its name the
//! address is found where a daemon keeps a connected socket to it, as chronyd does.

use super::open_sockets;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Files of chrony and of ntpd, those that a DHCP client writes included.
pub(super) const FILES: [&str; 7] = [
    "/etc/chrony.conf",
    "/etc/chrony/chrony.conf",
    "/etc/ntp.conf",
    "/etc/ntpsec/ntp.conf",
    "/run/ntp.conf.dhcp",
    "/run/ntpsec/ntp.conf.dhcp",
    "/etc/systemd/timesyncd.conf",
];
/// Folders, and the end of the names of files in them.
pub(super) const FOLDERS: [(&str, &str); 6] = [
    ("/etc/chrony.d", ".conf"),
    ("/etc/chrony/conf.d", ".conf"),
    ("/etc/chrony/sources.d", ".sources"),
    ("/run/chrony-dhcp", ".sources"),
    ("/etc/systemd/timesyncd.conf.d", ".conf"),
    ("/run/systemd/timesyncd.conf.d", ".conf"),
];
/// Upper bounds of what is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 256;
/// The port of NTP.
const NTP: u16 = 123;

/// Addresses of all time servers, sorted. A file that is missing names none.
///
/// # Errors
///
/// A file or folder is there and cannot be read.
pub fn time_servers() -> io::Result<Vec<IpAddr>> {
    let mut all = Vec::new();
    let mut paths: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for (folder, end) in FOLDERS {
        paths.extend(files_of(Path::new(folder), end)?);
    }
    for path in paths {
        let mut text = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => all.extend(servers(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(about(&path, &error)),
        }
    }
    // A kernel without udp_diag says nothing about sockets.
    all.extend(open_sockets::udp_peers(NTP).unwrap_or_default());
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Files of a folder whose names have this end; none if it is missing.
fn files_of(folder: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(about(folder, &error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(end));
    Ok(paths.filter(is_one).take(FILES_MAX).collect())
}

/// Servers that a file names by address.
///
/// Source: chrony.conf(5) and ntp.conf(5): `server`, `pool` or `peer`, then the host; timesyncd.conf(5): `NTP=` and
/// `FallbackNTP=`, then hosts between blanks.
fn servers(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((key, hosts)) = line.trim().split_once('=')
            && matches!(key.trim(), "NTP" | "FallbackNTP")
        {
            found.extend(hosts.split_ascii_whitespace().filter_map(address));
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next().is_some_and(|word| {
            ["server", "pool", "peer"]
                .iter()
                .any(|one| word.eq_ignore_ascii_case(one))
        });
        if is_server {
            // ntpd takes `-4` or `-6` in front of the host.
            let host = words.find(|word| !word.starts_with('-'));
            found.extend(host.and_then(address));
        }
    }
    found
}

/// An address without its zone; a name is none.
fn address(host: &str) -> Option<IpAddr> {
    host.split('%').next()?.parse::<IpAddr>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_that_the_daemons_ask() {
        let text = "\
# server 192.0.2.9
server 192.0.2.1 iburst
  Pool 192.0.2.2
peer -4 192.0.2.3
server 2001:db8::123 prefer
server fe80::1%eth0
server time.example iburst
servers 192.0.2.8
serverstats 192.0.2.7
server
[Time]
NTP=192.0.2.4 time.example 2001:db8::4
FallbackNTP = 192.0.2.5
#NTP=192.0.2.6
NTPx=192.0.2.6";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        let expected = [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "2001:db8::123",
            "fe80::1",
            "192.0.2.4",
            "2001:db8::4",
            "192.0.2.5",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn files_of_a_folder_are_those_with_the_end_and_a_missing_folder_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.sources", "b.conf", "c.sources~"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let found = files_of(folder.path(), ".sources").expect("readable");
        assert_eq!(found, [folder.path().join("a.sources")]);
        let none = files_of(&folder.path().join("none"), ".conf");
        assert!(none.expect("missing").is_empty());
    }

    #[test]
    fn this_hosts_files_can_be_read() {
        assert!(time_servers().is_ok());
    }

    #[test]
    fn a_connected_socket_names_its_server() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.connect(("127.0.0.1", port)).expect("connected");
        match open_sockets::udp_peers(port) {
            Ok(peers) => assert_eq!(peers, ["127.0.0.1".parse::<IpAddr>().expect("an address")]),
            Err(error) => eprintln!("skipped: no udp_diag here: {error}"),
        }
    }
}
