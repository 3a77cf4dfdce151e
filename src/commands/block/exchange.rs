//! A request to a sensor over its status socket, and the answer.

use super::left;
use crate::commands::say;
use crate::error::Failure;
use crate::observe::status::VERSION;
use crate::respond::block::left::others;
use crate::time::clock::monotonic_ns;
use crate::words::{printable, shown};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The path that is no socket: no sensor is asked.
const NONE: &str = "none";
/// For request and answer together; longer than the sensor takes.
const PATIENCE_NS: i64 = 30_000_000_000;
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What the sensor says to a request, which gets the version of the protocol. Where there is none, or one that has just
/// ended, what it left in the kernel answers.
pub fn ask(socket: &Path, request: &Value) -> Result<Value, Failure> {
    let mut request = request.clone();
    request["synledger"] = json!(VERSION);
    if socket == Path::new(NONE) {
        return left::answer("--socket none: no sensor is asked", &request);
    }
    match sent(socket, &request) {
        Ok(answer) => {
            let answer = checked(socket, &answer)?;
            if request["do"] == "list" {
                let mode = answer["mode"].as_str().unwrap_or_default();
                others(mode).iter().for_each(say);
            }
            Ok(answer)
        }
        Err(error) => match gone(socket, &error) {
            Some(gone) => left::answer(&unreachable(socket, &gone), &request),
            None => Err(Failure::Run(unreachable(socket, &error))),
        },
    }
}

/// What the sensor says to a request, which gets the version of the protocol. Only a sensor answers.
pub(in crate::commands) fn ask_sensor(socket: &Path, request: &Value) -> Result<Value, Failure> {
    let mut request = request.clone();
    request["synledger"] = json!(VERSION);
    let answer = sent(socket, &request);
    let answer = answer.map_err(|error| Failure::Run(unreachable(socket, &error)))?;
    checked(socket, &answer)
}

fn sent(socket: &Path, request: &Value) -> io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    let until_ns = monotonic_ns() + PATIENCE_NS;
    exchange(Timed { stream, until_ns }, &format!("{request}\n"))
}

/// Why nobody serves the socket any more; `None`: somebody does, or that is unknown.
fn gone(socket: &Path, error: &io::Error) -> Option<io::Error> {
    let is_gone = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused);
    match error.kind() {
        kind if is_gone(kind) => Some(kind.into()),
        // A sensor that was killed while it was asked.
        kind if is_cut(kind) => {
            let again = UnixStream::connect(socket).err()?;
            is_gone(again.kind()).then_some(again)
        }
        _ => None,
    }
}

fn is_cut(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The answer of a sensor that speaks our version.
fn checked(socket: &Path, answer: &str) -> Result<Value, Failure> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let error = answer["error"].as_str().unwrap_or("no reason was given");
    match answer["ok"].as_bool() {
        // One of another version names its own.
        Some(false) if answer["synledger"].is_u64() => {
            Err(Failure::Run(printable(error).into_owned()))
        }
        Some(true) if answer["synledger"] == json!(VERSION) => Ok(answer),
        _ => {
            let other = io::Error::from(ErrorKind::InvalidData);
            Err(Failure::Run(unreachable(socket, &other)))
        }
    }
}

/// A stream on which all calls together may take so long.
struct Timed {
    stream: UnixStream,
    until_ns: i64,
}

impl Timed {
    /// The time that is left.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left_ns = u64::try_from(self.until_ns - monotonic_ns()).unwrap_or(0);
        match left_ns {
            0 => Err(ErrorKind::TimedOut.into()),
            left_ns => Ok(Some(Duration::from_nanos(left_ns))),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exchange(mut stream: Timed, request: &str) -> io::Result<String> {
    // A sensor that refuses a peer answers without reading.
    let sent = stream.write_all(request.as_bytes());
    let _ = stream.stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let got = stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
    let is_whole = answer.ends_with('\n') || !(answer.is_empty() || answer.starts_with('{'));
    match is_whole {
        // A sensor that did not want to read all of the request closes with an error, behind its answer.
        true => Ok(answer),
        false => match (got, sent) {
            (Err(error), _) if !is_cut(error.kind()) => Err(error),
            (_, Err(error)) => Err(error),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        },
    }
}

/// Why no sensor answers, and what to do.
fn unreachable(socket: &Path, error: &io::Error) -> String {
    let shown = shown(socket);
    let what = match error.kind() {
        ErrorKind::NotFound => {
            "there is no such socket: start `synledger run` with --status-socket or --block, or name its socket with --socket"
        }
        ErrorKind::ConnectionRefused => {
            "nobody serves this socket: the sensor has ended; start `synledger run` with --status-socket or --block"
        }
        ErrorKind::PermissionDenied => {
            "no permission: run this as root, as the user of the sensor, or as a member of its --status-group"
        }
        kind if is_cut(kind) => {
            "the sensor closed the connection before it answered: many ask at once, or it has just started anew; try again"
        }
        ErrorKind::InvalidData => "what answers there is no sensor of this version",
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the sensor does not answer within 30 s",
        _ => return format!("{shown}: {error}"),
    };
    format!("{shown}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread;

    /// Asks somebody who answers this, in words.
    fn asked(answer: &'static [u8]) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        let socket: PathBuf = dir.path().join("sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 4_096]);
            stream.write_all(answer).expect("sent");
            drop(stream);
            // Where it closed at once, it is asked whether it is still there.
            listener
        });
        let request = json!({ "do": "del", "net": "192.0.2.1/32" });
        let said = match ask(&socket, &request) {
            Ok(answer) => answer.to_string(),
            Err(failure) => failure.to_string(),
        };
        other.join().expect("no panic");
        said
    }

    #[test]
    fn what_is_no_sensor_of_this_version_is_named() {
        let no_sensor = "sock: what answers there is no sensor of this version";
        for answer in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"hello",
            b"\xff\xfe\n",
            b"{}\n",
            b"{\"ok\":true}\n",
            b"{\"ok\":true,\"synledger\":2}\n",
            b"{\"ok\":false,\"error\":\"x\"}\n",
        ] {
            let said = asked(answer);
            assert!(said.ends_with(no_sensor), "{said}");
        }
        let older = b"{\"ok\":false,\"error\":\"speak 0\",\"synledger\":0}\n";
        assert_eq!(asked(older), "speak 0");
        let ours = b"{\"ok\":true,\"carried_out\":1,\"synledger\":1}\n";
        assert!(asked(ours).contains("carried_out"));
    }

    #[test]
    fn who_closes_before_the_answer_ends_is_said_to_have_closed() {
        for answer in [&b""[..], b"{\"ok\":tr"] {
            let said = asked(answer);
            assert!(said.contains("closed the connection before it"), "{said}");
        }
        for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
            let says = unreachable(Path::new("sock"), &kind.into());
            assert!(says.contains("closed the connection before it"), "{says}");
        }
    }

    #[test]
    fn all_calls_together_may_take_so_long() {
        let (stream, _other) = UnixStream::pair().expect("a pair");
        let until_ns = monotonic_ns();
        let error = exchange(Timed { stream, until_ns }, "x\n").expect_err("it is late");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
