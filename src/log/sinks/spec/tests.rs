use super::*;
use crate::log::sinks::rotation::Keep;

fn read(value: &str) -> Result<OutputSpec, String> {
    value.parse().map_err(|ConfigError(error)| error)
}

#[test]
fn defaults_differ_by_kind() {
    assert_eq!(read("text:-"), Ok(OutputSpec::default()));
    let eve = read("eve:/var/log/eve.json").expect("good");
    assert_eq!(eve.events, EventSet::of(&EventKind::ALL));
    assert_eq!(eve.target, Target::Path("/var/log/eve.json".into()));
}

#[test]
fn lines_to_the_journal_are_rare_ones_unless_events_asks_for_others() {
    let events = |value: &str, is_journal: bool| {
        let spec = read(value).expect("good");
        let before = spec.events;
        let spec = spec.without_bursts(value, |_| is_journal);
        assert_eq!(spec.is_journal, spec.events != before, "{value}");
        spec.events
    };
    let rare = EventSet::of(&[EventKind::Alert, EventKind::Lifecycle, EventKind::Block]);
    let all = EventSet::of(TEXT.events);
    for value in ["text:-", "text:/dev/stdout", "text:/dev/stderr"] {
        assert_eq!(events(value, true), rare, "{value}");
        assert_eq!(events(value, false), all, "{value}");
    }
    let connections = EventSet::of(&[EventKind::Connection]);
    assert_eq!(events("text:-,events=connection", true), connections);
    assert_eq!(events("text:/var/log/x.log", true), all, "a file");
    let eve = EventSet::of(&EventKind::ALL);
    assert_eq!(events("eve:-", true), eve, "a program reads it");
}

#[test]
fn one_file_under_two_spellings_is_named_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().display();
    std::fs::write(format!("{dir}/old.log"), "").expect("a file");
    std::fs::hard_link(format!("{dir}/old.log"), format!("{dir}/same.log")).expect("a link");
    std::fs::create_dir(format!("{dir}/sub")).expect("a folder");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(format!("{dir}/{to}"), format!("{dir}/{name}")).expect("a link");
    };
    link("old.log", "link.log");
    link("sub", "linked");
    let null =
        ["text:/dev/null", "eve:/dev/../dev/null"].map(|spec| read(spec).expect("good").target);
    assert_eq!(apart(&null), Ok(()), "what nobody reads cannot be mixed");
    for (a, b, one) in [
        ("x.log", "./x.log", true),
        ("x.log", "sub/../x.log", true),
        ("x.log", "sub/x.log", false),
        ("old.log", "same.log", true),
        ("old.log", "link.log", true),
        ("same.log", "link.log", true),
        ("sub/x.log", "linked/x.log", true),
        ("sub/x.log", "linked/y.log", false),
        ("old.log", "x.log", false),
        ("nowhere/x.log", "nowhere/y.log", false),
    ] {
        let spec = |kind: &str, file: &str| {
            let spec = read(&format!("{kind}:{dir}/{file}"));
            spec.expect("good").target
        };
        let refused = apart(&[spec("text", a), spec("eve", b)]).is_err();
        assert_eq!(refused, one, "{a} {b}");
    }
    // A file in the folder of another output, whether it is there or not.
    let zeek = read(&format!("zeek:{dir}")).expect("good").target;
    for file in ["old.log", "x.log"] {
        let inside = read(&format!("eve:{dir}/{file}")).expect("good").target;
        for both in [[zeek.clone(), inside.clone()], [inside, zeek.clone()]] {
            let says = apart(&both).expect_err(file);
            assert!(says.contains("name a file elsewhere"), "{says}");
        }
    }
    assert_eq!(
        apart(&[
            read("text:-").expect("good").target,
            read("eve:/dev/stderr").expect("good").target
        ]),
        Ok(())
    );
    assert!(read("text:logs/").is_err_and(|says| says.contains("ends with a slash")));
}

#[test]
fn the_streams_of_the_process_go_by_several_names() {
    let target = |text: &str| read(&format!("eve:{text},events=flow")).expect(text).target;
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(target(name), Target::Stdout);
    }
    for name in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
        assert_eq!(target(name), Target::Stderr);
    }
    for name in ["/dev/fd/11", "/dev/stdout.log", "stdout"] {
        assert_eq!(target(name), Target::Path(name.into()));
    }
}

#[test]
fn events_are_those_asked_for() {
    let spec = read("eve:-,events=flow+stats").expect("good");
    let asked = EventKind::ALL.map(|kind| spec.events.has(kind));
    assert_eq!(asked, [false, false, true, true, false, false]);
}

#[test]
fn errors_name_the_value_and_what_is_allowed() {
    for (value, message) in [
        (
            "text",
            "--output text: KIND:TARGET has no colon; allowed: text:- text:PATH eve:- eve:PATH zeek:DIR zeek-json:DIR \
             ipfix:udp://HOST[:PORT] ipfix:tcp://HOST[:PORT] netflow9:udp://HOST[:PORT] syslog:udp://HOST[:PORT] \
             syslog:tcp://HOST[:PORT] syslog:unix:///SOCKET cef:udp://HOST[:PORT] cef:tcp://HOST[:PORT] \
             cef:unix:///SOCKET journald: journald:unix:///run/systemd/journal/socket \
             parquet:DIR parquet:s3://BUCKET/PREFIX",
        ),
        (
            "csv:d",
            "--output csv:d: unknown kind \"csv\"; allowed: text, eve, zeek, zeek-json, ipfix, netflow9, syslog, cef, journald, parquet",
        ),
        (
            "eve:",
            "--output eve:: the target is empty; allowed: eve:- eve:PATH",
        ),
        (
            "eve:-,rotate=1h",
            "--output eve:-,rotate=1h: unknown option \"rotate=1h\"; \
             allowed: events=connection+alert+flow+stats+lifecycle+block, each once",
        ),
        (
            "eve:f,events=flow+dns",
            "--output eve:f,events=flow+dns: unknown event \"dns\"; \
             allowed: connection, alert, flow, stats, lifecycle, block, joined by +",
        ),
        (
            "text:-,events=",
            "--output text:-,events=: unknown event \"\"; \
             allowed: connection, alert, flow, stats, lifecycle, block, joined by +",
        ),
    ] {
        assert_eq!(read(value), Err(message.into()));
    }
    assert!(read("text:-,events=flow,events=flow").is_err());
}

#[test]
fn collectors_have_a_transport_a_port_and_options() {
    let name = |value: &str| read(value).map(|spec| spec.name());
    for (value, expected) in [
        ("ipfix:udp://192.0.2.1", "ipfix:udp://192.0.2.1:4739"),
        (
            "ipfix:tcp://[2001:db8::1]:99",
            "ipfix:tcp://[2001:db8::1]:99",
        ),
        (
            "netflow9:udp://collector.example",
            "netflow9:udp://collector.example:2055",
        ),
        ("syslog:tcp://h:6514", "syslog:tcp://h:6514"),
        ("syslog:/dev/log", "syslog:/dev/log"),
        ("cef:unix:///dev/log", "cef:/dev/log"),
        ("journald:", "journald:/run/systemd/journal/socket"),
    ] {
        assert_eq!(name(value).as_deref(), Ok(expected));
        assert_eq!(
            name(expected).as_deref(),
            Ok(expected),
            "its own name is a value"
        );
    }
    let all = read("ipfix:udp://h,mtu=576,template=5,pace=100,domain=9,events=flow").expect("good");
    let CollectorOptions {
        mtu,
        template_s,
        pace,
        domain,
    } = all.collector;
    assert_eq!((mtu, template_s, pace, domain), (576, 5, 100, 9));
    for (value, part) in [
        ("ipfix:192.0.2.1:4739", "names no transport"),
        ("ipfix:", "names no transport"),
        ("ipfix:udp://", "is no host"),
        ("ipfix:udp://h:0", "is no port"),
        ("ipfix:udp://2001:db8::1", "is no port"),
        ("ipfix:udp://[2001:db8::1", "the bracket is not closed"),
        ("netflow9:tcp://h", "is no transport of it"),
        ("ipfix:unix:///x", "is no transport of it"),
        ("journald:udp://h", "is no transport of it"),
        ("syslog:unix://log", "is no absolute path"),
        (
            "ipfix:udp://h,mtu=575",
            "\"mtu=575\" is out of range; allowed: mtu=576 to 9216",
        ),
        ("ipfix:udp://h,template=0", "out of range"),
        ("ipfix:tcp://h,mtu=1500", "unknown option"),
        ("syslog:udp://h,domain=1", "unknown option"),
        ("ipfix:udp://h,rotate=1h", "unknown option"),
        ("ipfix:udp://h,events=alert", "ipfix carries no alert"),
    ] {
        let error = read(value).expect_err("bad");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_format_of_files_takes_a_folder_and_rotation_and_carries_what_it_says() {
    let all = read("zeek:/var/log/z/,rotate=1h+100MiB,keep=7,events=flow").expect("good");
    assert_eq!(all.target, Target::Path("/var/log/z/".into()));
    let Rotation {
        every_s,
        bytes,
        keep,
    } = all.rotation;
    assert_eq!(
        (every_s, bytes, keep),
        (Some(3600), Some(100 << 20), Some(Keep::Files(7)))
    );
    assert!(all.events.has(EventKind::Flow) && !all.events.has(EventKind::Alert));
    let default = read("zeek:z").expect("good").events;
    assert_eq!(default, EventSet::of(&[EventKind::Flow, EventKind::Alert]));
    for (value, says) in [
        ("zeek:-", "it writes several files: name a folder"),
        ("zeek:", "the target is empty"),
        (
            "zeek:z,events=block",
            "zeek carries no block; allowed: alert, flow, stats, joined by +",
        ),
        (
            "zeek:z,rotate=1x",
            "rotate: \"1x\" is neither a time nor a size in range; allowed: rotate=TIME",
        ),
        (
            "zeek:z,rotate=1h,keep=0",
            "keep: \"0\" is neither a number nor a size in range; allowed: keep=N",
        ),
        ("zeek:z,keep=3", "keep= without rotate= keeps nothing"),
        (
            "zeek:z,rotate=1h,rotate=2h",
            "repeated option \"rotate=2h\"",
        ),
        (
            "text:x,rotates=1h",
            "unknown option \"rotates=1h\"; allowed: events=",
        ),
        (
            "eve:x,rotate=2MiB,keep=7MiB",
            "keep=7MiB is less than four files of rotate=2MiB; allowed: rotate=TIME",
        ),
        ("eve:x,rotate=1h,keep=3MiB", "keep: \"3MiB\" is neither"),
    ] {
        let error = read(value).expect_err(value);
        assert!(error.contains(says), "{value}: {error}");
    }
}

#[test]
fn lines_to_a_file_are_rotated_and_bytes_alone_set_the_size_of_a_file() {
    let of = |value: &str| {
        let rotation = read(value).expect(value).rotation;
        (rotation.every_s, rotation.bytes, rotation.keep)
    };
    let day = Some(86_400);
    assert_eq!(of("eve:x,rotate=1d"), (day, None, None));
    let keep = Some(Keep::Bytes(1 << 30));
    assert_eq!(of("eve:x,rotate=1d,keep=1GiB"), (day, Some(64 << 20), keep));
    let keep = Some(Keep::Bytes(4 << 20));
    assert_eq!(of("text:x,keep=4MiB,rotate=1d"), (day, Some(1 << 20), keep));
    assert_eq!(
        of("text:x,rotate=1MiB,keep=4MiB"),
        (None, Some(1 << 20), keep)
    );
}

#[test]
fn a_budget_gives_sizes_to_files_and_names_the_smallest_that_works() {
    let share = |values: &[&str], mib: u64| {
        let mut outputs: Vec<_> = values
            .iter()
            .map(|value| read(value).expect(value))
            .collect();
        let done = share_budget(&mut outputs, mib << 20);
        let sizes = outputs.iter().map(|output| output.rotation.bytes);
        done.map(|()| sizes.collect::<Vec<_>>())
    };
    let mib = |mib: u64| Some(mib << 20);
    assert_eq!(share(&["eve:x,rotate=1d"], 64), Ok(vec![mib(4)]));
    assert_eq!(
        share(&["eve:x,rotate=1d", "text:-"], 4),
        Ok(vec![mib(1), None])
    );
    // Three files of Zeek's and one of EVE share what the sized ones leave.
    let three = ["eve:x,rotate=1h", "zeek:z,rotate=1h", "text:y,rotate=8MiB"];
    assert_eq!(share(&three, 32 + 128), Ok(vec![mib(2), mib(2), mib(8)]));
    let error = share(&three, 47).expect_err("too small");
    let says = "--log-budget 47MiB: too small for four files of each output; the smallest that works here is 48MiB";
    assert_eq!(error, says);
    assert!(share(&three, 48).is_ok());
    let error = share(&["eve:x", "text:-"], 9).expect_err("nothing to limit");
    assert!(
        error.starts_with("--log-budget 9MiB: no output is rotated; add rotate="),
        "{error}"
    );
}
