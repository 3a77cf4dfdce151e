//! The name servers of this host.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;

/// The C library's file, and systemd-resolved's. With systemd-resolved the first names only the stub on
/// loopback, the second the stub's servers.
pub(super) const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Upper bound of what is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Addresses of all name servers, sorted. A file that is missing names none.
///
/// # Errors
///
/// A file is there and cannot be read.
pub fn resolvers() -> io::Result<Vec<IpAddr>> {
    let mut all = Vec::new();
    for path in FILES {
        let mut text = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => all.extend(nameservers(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The servers in the text of a resolv.conf; a zone (`fe80::1%eth0`) is left out.
///
/// Source: resolv.conf(5): the keyword starts the line, blanks end it.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let rest = line.strip_prefix("nameserver")?;
        let word = rest
            .starts_with([' ', '\t'])
            .then(|| rest.split_ascii_whitespace().next())??;
        word.split('%').next()?.parse::<IpAddr>().ok()
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_those_that_the_c_library_asks() {
        let text = "\
# nameserver 192.0.2.9
nameserver 192.0.2.1
nameserver\t2001:db8::53   # ours
nameserver fe80::1%eth0
nameservers 192.0.2.8
nameserver192.0.2.7
nameserver dns.example
search example
nameserver";
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1", "2001:db8::53", "fe80::1"]);
    }

    #[test]
    fn this_hosts_files_can_be_read() {
        assert!(resolvers().is_ok());
    }
}
