//! Metrics at a socket and in a file, in the sandbox and as another user.

use super::sensor::Sensor;
use crate::common::netns::{SENSOR, with_veth};
use crate::common::{RUN, fails, synledger};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// A folder of `nobody`, and its number.
fn folder_of_nobody() -> (tempfile::TempDir, u32) {
    let dir = tempfile::tempdir().expect("a folder");
    let nobody = User::from_name("nobody").expect("a table of users");
    let nobody = nobody.expect("every system has it");
    chown(dir.path(), Some(nobody.uid), Some(nobody.gid)).expect("root may");
    (dir, nobody.uid.as_raw())
}

/// The two targets in this folder, as values of `--metrics`.
fn targets(dir: &Path) -> [String; 2] {
    let dir = dir.display();
    [format!("unix:{dir}/sock"), format!("textfile:{dir}")]
}

fn over_socket(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("served");
    let request = format!("GET {request} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Owner and permissions.
fn about(path: &Path) -> (u32, u32) {
    let about = fs::metadata(path).expect("it is there");
    (about.uid(), about.mode() & 0o777)
}

#[test]
fn socket_and_file_belong_to_the_user_are_served_in_the_sandbox_and_removed_at_the_end() {
    with_veth(|_| {
        let (dir, uid) = folder_of_nobody();
        let folder = dir.path().to_owned();
        let [socket, file] = ["sock", "synledger.prom"].map(|name| folder.join(name));
        let [unix, textfile] = targets(&folder);
        let args = [
            "--user",
            "nobody",
            "--metrics",
            &unix,
            "--metrics",
            &textfile,
        ];
        let sensor = Sensor::start_in(dir, &[], &args, Stdio::null());
        assert_eq!(about(&socket), (uid, 0o660));
        assert!(over_socket(&socket, "/metrics").contains("\nsynledger_books_closed 1\n"));
        assert!(over_socket(&socket, "/healthz").ends_with("\r\n\r\nok\n"));
        sensor.wait_for("file", || file.exists());
        assert_eq!(about(&file), (uid, 0o644));
        let first = fs::metadata(&file).expect("a file").ino();
        sensor.wait_for("second file", || {
            fs::metadata(&file).is_ok_and(|second| second.ino() != first)
        });
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains("\nsynledger_frames_total "), "{text}");
        let stderr = sensor.content("stderr");
        assert!(
            stderr.contains(&format!("metrics: {}", file.display())),
            "{stderr}"
        );
        // The folder is a part of the sensor's, and removed when that is dropped.
        sensor.signal(Signal::SIGINT);
        let mut sensor = sensor;
        assert_eq!(sensor.exit(), Some(0), "{}", sensor.content("stderr"));
        assert!(!sensor.content("stderr").contains("the sandbox refused"));
        for path in [&socket, &file, &folder.join("synledger.prom.new")] {
            assert!(!path.exists(), "{} is left", path.display());
        }
    });
}

#[test]
fn what_a_killed_sensor_left_is_replaced_and_what_is_anothers_is_not() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let [unix, textfile] = targets(dir.path());
        let args = ["--metrics", &unix, "--metrics", &textfile];
        let run = || {
            let mut command = synledger();
            command.args(RUN).args(["-i", SENSOR, "--ring-mib", "8"]);
            command.args(["--memory-mib", "64"]).args(args);
            command
        };
        let [socket, file] = ["sock", "synledger.prom"].map(|name| dir.path().join(name));
        for round in 0..2 {
            let sensor = Sensor::start_command(&mut run());
            sensor.wait_for("served", || UnixStream::connect(&socket).is_ok());
            sensor.wait_for("file", || file.exists());
            assert_eq!(about(&socket), (0, 0o660));
            let one = |flag: &str| -> Command {
                let mut command = synledger();
                command.args(RUN).args(["-i", SENSOR, "--metrics", flag]);
                command
            };
            fails(one(&unix), 1, &[&unix, "another sensor answers there"]);
            fails(one(&textfile), 1, &["another sensor writes there"]);
            assert!(socket.exists() && file.exists());
            // As kill -9 leaves it, and the second time as it should be.
            match round {
                0 => drop(sensor),
                _ => sensor.stop(Signal::SIGTERM).assert_exact(),
            }
            assert_eq!((socket.exists(), file.exists()), (round == 0, round == 0));
        }
        fs::write(&socket, "mine").expect("a file");
        fails(
            run(),
            1,
            &["--metrics", "a file that is no socket is there"],
        );
        assert_eq!(fs::read(&socket).expect("a file"), b"mine");
    });
}

#[test]
fn a_folder_where_the_user_may_not_write_is_named_before_anything_is_made() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let [_, textfile] = targets(dir.path());
        for more in [&["--dry-run"][..], &[]] {
            let mut command = synledger();
            command.args(RUN).args(["-i", SENSOR, "--user", "nobody"]);
            command.args(["--metrics", &textfile]).args(more);
            let parts = [
                "--user nobody: --metrics textfile:",
                "give it to nobody (chown)",
            ];
            fails(command, 1, &parts);
        }
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    });
}
