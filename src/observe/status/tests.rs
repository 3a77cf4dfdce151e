use super::*;
use crate::host::sandbox::{Sandbox, Thread};
use crate::log::block_record::Why;
use crate::observe::metrics::Exposition;
use crate::observe::server::{self, Listeners};
use crate::observe::snapshot::Snapshot;
use crate::respond::block::desk::{Row, Told, Wish};
use crate::respond::block::orders::Done;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A served socket; `told` answers each wish.
fn serve(dir: &Path, told: impl Fn(Wish) -> Told + Send + 'static) -> PathBuf {
    let path = dir.join("sock");
    let listener = StdListener::bind(&path).expect("a socket");
    let (desk, requests) = Desk::open("dry-run", "edge");
    std::thread::spawn(move || {
        while let Ok(request) = requests.recv() {
            let _ = request.reply.send(told(request.wish));
        }
    });
    let socket = StatusSocket::new(listener, (Some(desk), View::new(None), "edge"), None);
    let exposition = Exposition::starting_now(Arc::new(Snapshot::default));
    let pass = Sandbox::off().pass(Thread::Metrics);
    let listeners = Listeners {
        status: Some(socket),
        ..Listeners::default()
    };
    server::serve(listeners, exposition, pass).expect("a thread");
    path
}

fn ask(path: &Path, request: &[u8]) -> Value {
    let mut stream = UnixStream::connect(path).expect("served");
    stream.write_all(request).expect("taken");
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer.matches('\n').count(), 1, "{answer}");
    serde_json::from_str(&answer).expect("JSON")
}

#[test]
fn a_line_of_json_is_answered_by_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let net = "192.0.2.9/32".parse().expect("a network");
    let path = serve(dir.path(), move |wish| match wish {
        Wish::List => Told::Rows(vec![Row {
            net,
            why: Why::Hand("a\"b".into()),
            since_ns: 1_619_623_685_000_000_000,
            until_ns: None,
            dropped: Some((3, 180)),
        }]),
        Wish::Remove(net) => Told::Done(Done {
            carried_out: 0,
            refused: vec![(net, "no".to_owned()).into()],
        }),
        _ => Told::Refused("not now".to_owned()),
    });
    let list = ask(&path, b"{\"synledger\":1,\"do\":\"list\"}\n");
    let block = json!({
        "net": "192.0.2.9/32", "why": "by hand: a\"b", "by": "hand", "since": "2021-04-28T15:28:05Z",
        "until": null, "dropped_packets": 3, "dropped_bytes": 180,
    });
    let expected = json!({
        "synledger": 1, "ok": true, "mode": "dry-run", "sensor": "edge", "blocks": [block],
    });
    assert_eq!(list, expected);
    let del = ask(
        &path,
        b"{\"synledger\":1,\"do\":\"del\",\"net\":\"192.0.2.9\"}\n",
    );
    let refused = json!([{ "net": "192.0.2.9/32", "reason": "no" }]);
    assert_eq!(
        (&del["carried_out"], &del["refused"]),
        (&json!(0), &refused)
    );
    let flush = ask(&path, b"{\"synledger\":1,\"do\":\"flush\"}\n");
    let expected = json!({ "synledger": 1, "ok": false, "error": "not now" });
    assert_eq!(flush, expected);
}

#[test]
fn what_is_no_request_is_refused_and_asks_the_blocker_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = serve(dir.path(), |wish| panic!("asked {wish:?}"));
    for (request, says) in [
        (&b""[..], "one line of JSON"),
        (b"{\"synledger\":1,\"do\":\"list\"}", "one line of JSON"),
        (b"\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b"{\"synledger\":7,\"do\":\"list\"}\n", "version 1"),
    ] {
        let answer = ask(&path, request);
        assert_eq!(answer["ok"], json!(false));
        let error = answer["error"].as_str().expect("a sentence");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn clients_that_say_nothing_make_room_for_one_that_asks() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = serve(dir.path(), |_| Told::Rows(Vec::new()));
    let silent: Vec<_> = (0..2 * CONNECTIONS_MAX)
        .map(|_| UnixStream::connect(&path).expect("served"))
        .collect();
    let answer = ask(&path, b"{\"synledger\":1,\"do\":\"list\"}\n");
    assert_eq!(answer["ok"], json!(true));
    drop(silent);
}

#[test]
fn whoever_loses_its_place_is_told_to_try_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = serve(dir.path(), |_| Told::Rows(Vec::new()));
    let first = UnixStream::connect(&path).expect("served");
    let mut half = UnixStream::connect(&path).expect("served");
    half.write_all(b"{\"synledger\":1,").expect("taken");
    let rest: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| UnixStream::connect(&path).expect("served"))
        .collect();
    for mut oldest in [first, half] {
        let mut answer = String::new();
        oldest.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("try again"), "{answer}");
    }
    drop(rest);
}

#[test]
fn a_long_request_waits_until_the_one_before_has_its_answer() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = serve(dir.path(), |_| Told::Rows(Vec::new()));
    let long = format!("{{\"synledger\":1,{}", " ".repeat(2 * SHORT_BYTES));
    let [mut first, mut second] = [(); 2].map(|()| UnixStream::connect(&path).expect("served"));
    first.write_all(long.as_bytes()).expect("taken");
    let answered = |stream: &mut UnixStream, ms: u64| {
        let wait = std::time::Duration::from_millis(ms);
        stream.set_read_timeout(Some(wait)).expect("open");
        let mut answer = String::new();
        let got = stream.read_to_string(&mut answer);
        got.is_ok_and(|_| answer.contains("\"ok\":true"))
    };
    // The first one has begun: what is short is answered meanwhile, what is long is not.
    std::thread::sleep(std::time::Duration::from_millis(200));
    second
        .write_all(format!("{long}\"do\":\"list\"}}\n").as_bytes())
        .expect("taken");
    let flush = ask(&path, b"{\"synledger\":1,\"do\":\"flush\"}\n");
    assert_eq!(flush["ok"], json!(true));
    assert!(!answered(&mut second, 300), "it waits");
    first.write_all(b"\"do\":\"list\"}\n").expect("taken");
    assert!(answered(&mut first, 5_000) && answered(&mut second, 5_000));
}

#[test]
fn the_memory_of_all_clients_is_counted() {
    assert_eq!(
        memory_bytes(10_000),
        memory_bytes(1),
        "a long request is more"
    );
    let more = memory_bytes(65_536) - memory_bytes(1);
    assert_eq!(more, 65_536 * ROW_BYTES - LONG_BYTES);
}

#[test]
fn root_the_own_user_and_one_group_may_use_the_socket() {
    let (own, other) = (Uid::effective().as_raw(), 64_999);
    let (group_of, none) = (Some(Gid::from_raw(64_997)), Vec::new);
    assert!(may_use(0, 0, None, none) && may_use(own, 64_998, None, none));
    assert!(!may_use(other, 0, None, none) && !may_use(other, 64_998, group_of, none));
    assert!(may_use(other, 64_997, group_of, none));
    assert!(may_use(other, 64_998, group_of, || vec![1, 64_997]));
    assert!(!may_use(other, 64_998, group_of, || vec![1, 64_996]));
    assert_eq!(group("0"), Ok(Gid::from_raw(0)));
    assert!(group("no-such-group").is_err());
}
