use super::*;
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::time::durations::Window;

fn read(args: &[&str]) -> Result<ReadArgs, String> {
    let all = ["synledger", "read"].iter().chain(args).chain(&["f.pcap"]);
    match Cli::try_parse_from(all)
        .map_err(|error| error.to_string())?
        .command
    {
        Command::Read(args) => Ok(args),
        other => panic!("parsed as {other:?}"),
    }
}

fn run(args: &[&str]) -> Result<RunArgs, String> {
    match Cli::try_parse_from(["synledger", "run"].iter().chain(args))
        .map_err(|e| e.to_string())?
        .command
    {
        Command::Run(args) => Ok(args),
        other => panic!("parsed as {other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_help() {
    let args = run(&[]).expect("no flag is needed");
    assert_eq!(args.interfaces.interfaces, ["auto"]);
    assert_eq!(
        (args.rings.fanout, args.capture),
        (FanoutMode::Class, CaptureDepth::Headers)
    );
    assert_eq!(
        (args.rings.ring_mib, args.block_kib, args.block_timeout_ms),
        (64, None, 20)
    );
    let detectors = &args.common.detectors;
    let (scan, sweep) = (&detectors.port_scan, &detectors.host_sweep);
    assert_eq!((scan.scan_ports, sweep.sweep_hosts), (4, 25));
    let minute = Window(60_000_000_000);
    assert_eq!((scan.scan_window, sweep.sweep_window), (minute, minute));
    assert_eq!((args.common.size.memory_mib, args.alert_rate), (256, 100));
    assert_eq!(args.shed, ShedMode::Auto);
    assert_eq!((args.stats_interval, args.common.text_format), (60, None));
    assert_eq!(read(&[]).expect("defaults").alert_rate, 0);
    assert_eq!(read(&[]).expect("defaults").reorder.0, 10_000_000);
    let error = read(&["--reorder", "11s"]).expect_err("over 10 s");
    assert!(error.contains("0 or a time up to 10s"), "{error}");
    assert_eq!((args.fold, read(&[]).expect("defaults").fold), (1000, None));
    assert_eq!(read(&[]).expect("defaults").report, []);
    for (flag, rate) in [("--fold", 1000), ("--fold=7", 7)] {
        assert_eq!(read(&[flag]).expect("a rate").fold, Some(rate));
    }
}

#[test]
fn verbose_and_quiet_exclude_each_other() {
    let args = run(&["-v", "--wait"]).expect("both are flags of run");
    assert!(args.verbose && args.wait);
    let error = run(&["-v", "-q"]).expect_err("both at once");
    assert!(error.contains("cannot be used with"), "{error}");
    let args = run(&[]).expect("no flag is needed");
    assert!(!args.verbose && !args.wait);
}

#[test]
fn values_out_of_range_are_named_with_their_range() {
    let cases = [
        (["--workers", "0"], "from 1 to 64"),
        (["--workers", "65"], "from 1 to 64"),
        (["--scan-ports", "1"], "from 2 to 16"),
        (["--scan-ports", "17"], "from 2 to 16"),
        (["--scan-window", "999ms"], "1s to 1h"),
        (["--scan-window", "60"], "unit is missing"),
        (["--scan-window", "2h"], "1s to 1h"),
        (["--memory-mib", "15"], "from 16 to 1048576"),
        (["--local", "10.0.0.0/33"], "must be a network such as"),
        (["--allow", "10.0.0.0/8:x"], "from 0 to 65535"),
        (["--text-format", "long"], "short, full"),
    ];
    for value in ["--fold=-1", "--fold=1000000001"] {
        let error = read(&[value]).expect_err("out of range");
        assert!(error.contains("from 0 to 1000000000"), "{error}");
    }
    for (args, says) in cases {
        let error = read(&args).expect_err("out of range");
        assert!(
            error.contains(says) && error.contains(args[0]),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn values_of_run_out_of_range_are_named_with_their_range() {
    let cases = [
        (["--block-kib", "5"], "power of two from 64 to 4096"),
        (["--block-kib", "96"], "power of two from 64 to 4096"),
        (["--ring-mib", "3"], "from 4 to 4096"),
        (["--block-timeout-ms", "0"], "from 1 to 1000"),
        (["--fanout", "rollover"], "splits connections"),
        (["--fanout", "x"], "class, hash, cpu or qm"),
        (["--capture", "x"], "headers"),
        (["--shed", "x"], "auto, off"),
        (["--metrics", "9477"], "must be ADDRESS:PORT or NAME:PORT"),
        (["--metrics", "[::1:9477"], ":9477 is that port of every"),
        (["--metrics", "unix:x"], "the path must begin with /"),
        (["--fold", "1000000001"], "from 0 to 1000000000"),
        (["--witness", "65537"], "from 0 to 65536"),
        (["--block-prefix6", "63"], "from 64 to 128"),
        (["--block-prefix6", "129"], "from 64 to 128"),
        (["--block-prefix6", "064"], "from 64 to 128"),
        (["--block-prefix6", "+64"], "from 64 to 128"),
        (["--stats-interval", "86401"], "from 0 to 86400"),
        (["--stats-interval", "8s"], "from 0 to 86400"),
    ];
    for (args, says) in cases {
        let error = run(&args).expect_err("out of range");
        assert!(
            error.contains(says) && error.contains(args[0]),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn lists_are_split_and_repeated_flags_add_up() {
    let args = read(&[
        "--local",
        "10.0.0.0/8,fd00::/8",
        "--local",
        "192.168.0.0/16",
    ])
    .expect("networks");
    assert_eq!(args.common.local.len(), 3);
    let args = read(&[
        "--local",
        "192.0.2.7",
        "--allow",
        "192.0.2.9,[2001:db8::1]:443",
    ])
    .expect("addresses on their own");
    assert_eq!(args.common.local[0].to_string(), "192.0.2.7/32");
    assert_eq!(args.common.allow[0].port, None);
    assert_eq!(args.common.allow[1].port, Some(443));
    let args = run(&["-i", "ens*,!veth*", "--fanout", "qm"]).expect("a list");
    assert_eq!(args.interfaces.interfaces, ["ens*", "!veth*"]);
}

#[test]
fn a_report_is_text_unless_a_page_is_named_and_may_be_both() {
    let reports = |args: &[&str]| read(args).map(|args| args.report);
    let page = ReportSpec::Html("a,b.html".into());
    assert_eq!(reports(&["--report"]), Ok(vec![ReportSpec::Text]));
    assert_eq!(reports(&["--report=html:a,b.html"]), Ok(vec![page.clone()]));
    let both = reports(&["--report=html:a,b.html", "--report"]);
    assert_eq!(both, Ok(vec![page, ReportSpec::Text]));
    let error = reports(&["--report=pdf:a"]).expect_err("no such form");
    assert!(error.contains("must be text or html:FILE"), "{error}");
    let error = run(&["--report"]).expect_err("a flag of read");
    assert!(error.contains("unexpected argument"), "{error}");
}
