use super::*;

#[test]
fn softnet_columns_are_hexadecimal_and_summed_over_cpus() {
    let text = "0000000a 00000010 00000001\n0000000b 00000002 0000000f\n";
    assert_eq!(softnet_column(text, 1), 18);
    assert_eq!(softnet_column(text, 2), 16);
    assert_eq!(softnet_column(text, 9), 0);
}

#[test]
fn a_lab_carries_frames_and_is_removed_on_drop() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return;
    }
    for set_up in [SetUp::Default, SetUp::Fair] {
        let lab = match Lab::new(set_up) {
            Ok(lab) => lab,
            Err(error) => {
                eprintln!("skipped: {error:#}");
                return;
            }
        };
        let names = [lab.namespace(End::Sender), lab.namespace(End::Receiver)];
        let before = lab.counters().expect("counters");
        let address = [
            "addr",
            "add",
            "192.0.2.1/24",
            "dev",
            lab.device(End::Sender),
        ];
        lab.run(End::Sender, "ip", &address).expect("an address");
        // The datagram causes an ARP request: one frame at least.
        let _ = lab.inside(End::Sender, || {
            let socket = std::net::UdpSocket::bind("192.0.2.1:0")?;
            Ok(socket.send_to(b"x", "192.0.2.2:9")?)
        });
        wait_for("a frame", || {
            let passed = lab.counters()?.since(&before);
            Ok(passed.tx_packets > 0 && passed.rx_packets == passed.tx_packets)
        })
        .expect("it carries frames");
        drop(lab);
        for name in names {
            assert!(
                !fs::exists(format!("{NETNS_FOLDER}/{name}")).expect("a path"),
                "{name}"
            );
        }
    }
}

#[test]
fn only_namespaces_of_ended_processes_are_removed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return;
    }
    // The largest process id that Linux gives is 4194304.
    let dead = format!("{PREFIX}4194305-0-a");
    let alive = format!("{PREFIX}{}-99-a", std::process::id());
    for name in [&dead, &alive] {
        if let Err(error) = run("ip", &["netns", "add", name]) {
            eprintln!("skipped: {error:#}");
            return;
        }
    }
    let mut orphan = Command::new("ip");
    let orphan = orphan
        .args(["netns", "exec", &dead, "sleep", "600"])
        .spawn();
    let mut orphan = orphan.expect("sleep starts");
    let comm = format!("/proc/{}/comm", orphan.id());
    wait_for("sleep", || Ok(fs::read_to_string(&comm)?.trim() == "sleep")).expect("it runs");
    let gone = clean().expect("cleaned");
    let status = orphan.wait().expect("it ended");
    assert!(!status.success(), "{status}");
    run("ip", &["netns", "del", &alive]).expect("still there");
    assert!(gone.contains(&dead) && !gone.contains(&alive), "{gone:?}");
}
