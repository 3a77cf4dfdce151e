//! Devices of default routes.

use std::io;

use super::read_proc_net;

const RTF_UP: u32 = 0x1;
/// The route refuses what it matches (`unreachable`, `blackhole`, `prohibit`).
const RTF_REJECT: u32 = 0x200;

/// Names of the devices that carry an IPv4 or IPv6 default route, sorted.
///
/// The files list only the first next hop of an IPv4 route, and no tables of policy routing: further devices
/// must be named.
///
/// # Errors
///
/// `/proc/net/route` cannot be read. `ipv6_route` may be missing, as on a host without IPv6.
///
/// Source: `fib_route_seq_show` (net/ipv4/fib_trie.c), `ipv6_route_native_seq_show` (net/ipv6/ip6_fib.c).
pub fn default_route_devices() -> io::Result<Vec<String>> {
    let mut names = from_ipv4(&read_proc_net("route")?);
    names.extend(from_ipv6(&read_proc_net("ipv6_route").unwrap_or_default()));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Devices of the default routes in the text of `/proc/net/route`.
fn from_ipv4(text: &str) -> Vec<String> {
    let device = |line: &str| {
        let field: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(field.get(3)?, 16).ok()?;
        let default = *field.get(1)? == "00000000" && *field.get(7)? == "00000000";
        (default && usable(flags)).then(|| field[0].to_owned())
    };
    text.lines().skip(1).filter_map(device).collect()
}

/// Devices of the default routes in the text of `/proc/net/ipv6_route`.
fn from_ipv6(text: &str) -> Vec<String> {
    let device = |line: &str| {
        let field: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(field.get(8)?, 16).ok()?;
        let any = field[0].bytes().all(|digit| digit == b'0');
        // A route that depends on the source, too, is not the host's default.
        let default = any && field[1] == "00" && field[3] == "00";
        (default && usable(flags)).then(|| field.get(9).map(|name| (*name).to_owned()))?
    };
    text.lines()
        .filter_map(device)
        .filter(|name| name != "lo")
        .collect()
}

fn usable(flags: u32) -> bool {
    flags & RTF_UP != 0 && flags & RTF_REJECT == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
*\t00000000\t00000000\t0200\t0\t0\t99\t00000000\t0\t0\t0
wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
";
    const IPV6: &str = "\
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth1
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    #[test]
    fn only_whole_usable_default_routes_count() {
        assert_eq!(from_ipv4(IPV4), ["eth0", "wlan0"]);
        assert_eq!(from_ipv6(IPV6), ["eth1"]);
    }

    #[test]
    fn cut_lines_are_passed_over() {
        for cut in 0..IPV4.len() {
            assert!(from_ipv4(&IPV4[..cut]).len() <= 2);
        }
        for cut in 0..IPV6.len() {
            assert!(from_ipv6(&IPV6[..cut]).len() <= 1);
        }
    }
}
