//! Records name the service at their destination: the command of a listener, or the systemd unit of its cgroup.

use super::peer::Peer;
use super::sensor::{PATIENCE, Sensor, of_type, records};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Moves itself into a cgroup, if one is given, then listens on `tcp` and `udp` ports, and answers.
const PROGRAM: &str = r#"
import os, select, socket, sys
if sys.argv[1] != "-":
    with open(os.path.join(sys.argv[1], "cgroup.procs"), "w") as procs:
        procs.write(str(os.getpid()))
all = []
for word in sys.argv[2:]:
    proto, address, port = word.split(",")
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(socket.AF_INET, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, int(port)))
    if proto == "tcp":
        one.listen()
    all.append(one)
print("ready", flush=True)
while True:
    for one in select.select(all, [], [])[0]:
        if one.type == socket.SOCK_STREAM:
            one.accept()[0].close()
        else:
            one.sendto(*one.recvfrom(100))
"#;

/// A running [`PROGRAM`] whose command is the name of its file; killed on drop.
struct Listening(Child);

impl Listening {
    /// `None`, with `skipped`, without python3.
    fn start(dir: &Path, name: &str, cgroup: &str, sockets: &[&str]) -> Option<Self> {
        let python = ["/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3"];
        let Some(python) = python.iter().find(|path| Path::new(path).exists()) else {
            eprintln!("skipped: python3 is not installed");
            return None;
        };
        let (path, text) = (dir.join(name), dir.join("text"));
        std::fs::write(&text, format!("#!{python}{PROGRAM}")).expect("a file");
        // By a process of its own: the kernel runs no file that another test's child has open for writing.
        let mut install = Command::new("install");
        let installed = install.args(["-m", "755"]).args([&text, &path]).status();
        assert!(installed.expect("install starts").success());
        let mut program = Command::new(&path);
        let child = program.arg(cgroup).args(sockets).stdout(Stdio::piped());
        let mut child = child.spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Some(Self(child))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A peer with an address, and one for the sensor's end.
fn peer() -> Peer {
    ip("link set lo up");
    ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
    ip(&format!("addr add 10.9.0.3/24 dev {SENSOR}"));
    let peer = Peer::new();
    peer.run(|| ip(&format!("addr add 10.9.0.1/24 dev {SENDER}")));
    peer
}

/// Connects from the peer; whether something listens there does not matter.
fn connect(peer: &Peer, to: &str, ports: impl IntoIterator<Item = u16>) {
    let to = to.parse().expect("an address");
    for port in ports {
        let target = SocketAddr::new(to, port);
        peer.run(move || drop(TcpStream::connect_timeout(&target, PATIENCE)));
    }
}

/// `synledger.service` of the records of this kind whose destination port is `port`.
fn services(eve: &[Value], kind: &str, port: u16) -> Vec<Value> {
    let of_port = of_type(eve, kind).filter(|record| record["dest_port"] == port);
    of_port
        .map(|record| record["synledger"]["service"].clone())
        .collect()
}

#[test]
fn connections_flows_and_scans_name_the_command_that_listens_there() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let peer = peer();
        let sockets = ["tcp,0.0.0.0,8080", "tcp,10.9.0.3,8081", "udp,0.0.0.0,8053"];
        let Some(_first) = Listening::start(dir.path(), "greeter", "-", &sockets) else {
            return;
        };
        let sensor = Sensor::start(&["--workers", "2"]);
        connect(&peer, "10.9.0.2", [8080, 8081, 8082]);
        connect(&peer, "10.9.0.3", [8081, 8083]);
        peer.run(|| {
            let socket = UdpSocket::bind("10.9.0.1:0").expect("a port");
            socket.set_read_timeout(Some(PATIENCE)).expect("patience");
            socket.send_to(b"?", "10.9.0.2:8053").expect("it is sent");
            socket.recv(&mut [0; 9]).expect("an answer");
        });
        // Four ports of one target: a scan, of which two have a service.
        connect(&peer, "10.9.0.3", [8080, 8084]);
        // A listener of a later time is found by the renewal.
        let later = Listening::start(dir.path(), "latecomer", "-", &["tcp,10.9.0.2,8090"]);
        let _later = later.expect("python3 is there");
        sensor.wait_for("name of the new listener", || {
            connect(&peer, "10.9.0.2", [8090]);
            std::thread::sleep(Duration::from_millis(300));
            let eve = sensor.content("log.json");
            let whole = eve.rfind('\n').map_or("", |end| &eve[..end]);
            let names = services(&records(whole), "new_connection", 8090);
            names.contains(&json!("latecomer"))
        });
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        for kind in ["new_connection", "flow"] {
            let of = |port| services(&ended.eve, kind, port);
            assert_eq!(of(8080), [json!("greeter"), json!("greeter")], "{kind}");
            // The listener takes one address of two.
            assert_eq!(of(8081), [json!(null), json!("greeter")], "{kind}");
            assert_eq!(of(8082), [json!(null)], "{kind}");
        }
        assert_eq!(services(&ended.eve, "flow", 8053), [json!("greeter")]);
        let mut alerts = of_type(&ended.eve, "alert");
        let scan = alerts.find(|alert| alert["dest_ip"] == "10.9.0.3");
        let listed = &scan.expect("a scan")["synledger"]["services"];
        let expected = json!([
            {"port": 8080, "service": "greeter"}, {"port": 8081, "service": "greeter"},
        ]);
        assert_eq!(*listed, expected);
    });
}

/// A cgroup, removed on drop.
struct Cgroup(PathBuf);

impl Cgroup {
    /// A new one with this name below the root of the cgroup2 file system.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn new(name: &str) -> Result<Self, String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let cgroup2 = |line: &&str| line.split(' ').nth(2) == Some("cgroup2");
        let point = mounts
            .lines()
            .find(cgroup2)
            .and_then(|line| line.split(' ').nth(1));
        let path = Path::new(point.ok_or("no cgroup2 file system is mounted")?).join(name);
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_listener_in_the_cgroup_of_a_systemd_unit_has_the_name_of_the_unit() {
    with_veth(|_| {
        let name = format!("synledger-test-{}.service", std::process::id());
        let cgroup = match Cgroup::new(&name) {
            Ok(cgroup) => cgroup,
            Err(why) => return eprintln!("skipped: no cgroup for a unit: {why}"),
        };
        let dir = tempfile::tempdir().expect("a folder");
        let peer = peer();
        let folder = cgroup.0.display().to_string();
        let sockets = ["tcp,0.0.0.0,8080"];
        // Dropped before its cgroup, which must be empty to be removed.
        let Some(_listening) = Listening::start(dir.path(), "greeter", &folder, &sockets) else {
            return;
        };
        let sensor = Sensor::start(&["--workers", "1"]);
        connect(&peer, "10.9.0.2", [8080]);
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let names = services(&ended.eve, "new_connection", 8080);
        assert_eq!(names, [json!(name)]);
    });
}
