//! As much of the protocol of S3 as puts need, with faults.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Good,
    /// Connections are closed at once.
    Away,
    /// 503 Slow Down.
    Unavailable,
    /// Each answer takes a fifth of a second.
    Slow,
    /// A file is taken, and the connection closed before the answer.
    CutShort,
    /// No upload in parts can be completed.
    NoEnd,
}

struct State {
    mode: Mode,
    objects: HashMap<String, Vec<u8>>,
    uploads: HashMap<String, BTreeMap<u32, Vec<u8>>>,
    parts: usize,
    requests: usize,
    failures: usize,
    heads: String,
}

/// A server on a port of loopback.
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Good,
            objects: HashMap::new(),
            uploads: HashMap::new(),
            parts: 0,
            requests: 0,
            failures: 0,
            heads: String::new(),
        }));
        let shared = Arc::clone(&state);
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                spawn(move || serve(&stream, &state));
            }
        });
        Self { port, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }

    pub fn set(&self, mode: Mode) {
        self.state().mode = mode;
    }

    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        self.state().objects.clone().into_iter().collect()
    }

    pub fn requests(&self) -> usize {
        self.state().requests
    }

    pub fn failures(&self) -> usize {
        self.state().failures
    }

    pub fn parts(&self) -> usize {
        self.state().parts
    }

    /// Uploads that were neither completed nor given up.
    pub fn left_over(&self) -> usize {
        self.state().uploads.len()
    }

    /// Whether the head of any request has this text.
    pub fn saw(&self, text: &str) -> bool {
        self.state().heads.contains(text)
    }
}

struct Request {
    method: String,
    key: String,
    query: String,
    body: Vec<u8>,
    head: String,
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head += &line;
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        key: path.trim_start_matches('/').replace("%3D", "="),
        query: query.to_owned(),
        body,
        head,
    })
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let mode = state.lock().expect("no thread panicked").mode;
        if mode == Mode::Slow {
            sleep(Duration::from_millis(200));
        }
        let mut state = state.lock().expect("no thread panicked");
        state.requests += 1;
        state.heads += &request.head;
        let answer = match mode {
            Mode::Away => None,
            Mode::Unavailable => Some((
                "503 Slow Down",
                "<Error><Code>SlowDown</Code></Error>".to_owned(),
            )),
            Mode::CutShort => {
                state.answer(&request);
                None
            }
            Mode::NoEnd if request.method == "POST" && request.query.contains("uploadId") => {
                Some(("500 Internal Server Error", String::new()))
            }
            _ => Some(("200 OK", state.answer(&request))),
        };
        let is_good = answer
            .as_ref()
            .is_some_and(|(status, _)| *status == "200 OK");
        state.failures += usize::from(!is_good);
        drop(state);
        let Some((status, body)) = answer else { return };
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"tag\"\r\n\r\n{body}");
        if (&mut &*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

impl State {
    /// Does what is asked, and returns the answer's body.
    fn answer(&mut self, request: &Request) -> String {
        let of = |name: &str| {
            let mut pairs = request.query.split('&');
            pairs.find_map(|pair| {
                pair.strip_prefix(name)?
                    .strip_prefix('=')
                    .map(str::to_owned)
            })
        };
        match (request.method.as_str(), of("uploadId")) {
            ("PUT", None) => {
                self.objects
                    .insert(request.key.clone(), request.body.clone());
                String::new()
            }
            ("POST", None) => {
                let id = format!("upload{}", self.requests);
                self.uploads.insert(id.clone(), BTreeMap::new());
                format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                )
            }
            ("PUT", Some(id)) => {
                let part = of("partNumber")
                    .expect("it has a number")
                    .parse()
                    .expect("a number");
                self.parts += 1;
                self.uploads
                    .get_mut(&id)
                    .expect("it was begun")
                    .insert(part, request.body.clone());
                String::new()
            }
            ("POST", Some(id)) => {
                let parts = self.uploads.remove(&id).expect("it was begun");
                let whole = parts.into_values().flatten().collect();
                self.objects.insert(request.key.clone(), whole);
                "<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>"
                    .to_owned()
            }
            ("DELETE", Some(id)) => {
                self.uploads.remove(&id);
                String::new()
            }
            (method, _) => panic!("{method} is not expected"),
        }
    }
}
