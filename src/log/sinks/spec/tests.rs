use super::*;

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
    assert_eq!(asked, [false, false, true, true, false]);
}

#[test]
fn errors_name_the_value_and_what_is_allowed() {
    for (value, message) in [
        (
            "text",
            "--output text: KIND:TARGET has no colon; allowed: text:- text:PATH eve:- eve:PATH zeek:DIR",
        ),
        (
            "csv:d",
            "--output csv:d: unknown kind \"csv\"; allowed: text, eve, zeek",
        ),
        (
            "eve:",
            "--output eve:: the target is empty; allowed: text:- text:PATH eve:- eve:PATH zeek:DIR",
        ),
        (
            "eve:f,rotate=1",
            "--output eve:f,rotate=1: unknown option \"rotate=1\"; \
             allowed: events=connection+alert+flow+stats+lifecycle, each once",
        ),
        (
            "eve:f,events=flow+dns",
            "--output eve:f,events=flow+dns: unknown event \"dns\"; \
             allowed: connection, alert, flow, stats, lifecycle, joined by +",
        ),
        (
            "text:-,events=",
            "--output text:-,events=: unknown event \"\"; \
             allowed: connection, alert, flow, stats, lifecycle, joined by +",
        ),
    ] {
        assert_eq!(read(value), Err(message.into()));
    }
    assert!(read("text:-,events=flow,events=flow").is_err());
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
        (Some(3600), Some(100 << 20), Some(7))
    );
    assert!(all.events.has(EventKind::Flow) && !all.events.has(EventKind::Alert));
    let default = read("zeek:z").expect("good").events;
    assert_eq!(default, EventSet::of(&[EventKind::Flow, EventKind::Alert]));
    for (value, says) in [
        ("zeek:-", "it writes several files: name a folder"),
        ("zeek:", "the target is empty"),
        (
            "zeek:z,events=stats",
            "zeek carries no stats; allowed: alert, flow, joined by +",
        ),
        (
            "zeek:z,rotate=1x",
            "rotate: \"1x\" is neither a time nor a size in range; allowed: rotate=TIME",
        ),
        (
            "zeek:z,rotate=1h,keep=0",
            "keep: \"0\" is no number in range; allowed: keep=N",
        ),
        ("zeek:z,keep=3", "keep= without rotate= keeps nothing"),
        (
            "zeek:z,rotate=1h,rotate=2h",
            "repeated option \"rotate=2h\"",
        ),
        (
            "text:x,rotate=1h",
            "unknown option \"rotate=1h\"; allowed: events=",
        ),
    ] {
        let error = read(value).expect_err(value);
        assert!(error.contains(says), "{value}: {error}");
    }
}
