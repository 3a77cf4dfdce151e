//! The rules and the dashboard of `packaging/monitoring`, by promtool and by a Prometheus that scrapes a sensor under load.

use super::deploy::program;
use super::sensor::{METRICS, PATIENCE, Sensor};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{ip, with_veth};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ADDRESS: &str = "127.0.0.1:9090";

/// Expressions of the dashboard that have no sample here, each with why.
const EMPTY: [(&str, &str); 2] = [
    ("synledger_degraded{", "nothing is lost"),
    ("changes(synledger_start_time_seconds{", "it started once"),
];

/// Alerts that this load raises at once. All others are tested by promtool.
const FIRING: [&str; 2] = ["SynledgerFlood", "SynledgerScan"];

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring");
    folder.join(name)
}

#[test]
fn promtool_finds_every_rule_right_and_each_alert_is_raised_in_its_tests() {
    let Some(promtool) = program("prometheus", "promtool") else {
        return;
    };
    for words in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ] {
        let mut command = Command::new(&promtool.path);
        let output = command.current_dir(file("")).args(words).output();
        let output = output.expect("it starts");
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {out}{err}");
    }
    let [rules, tests] =
        ["rules.yml", "rules_test.yml"].map(|name| fs::read_to_string(file(name)).expect("a file"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<&str> = alerts.collect();
    assert!(alerts.len() >= 15, "{alerts:?}");
    for alert in alerts {
        let raised = format!("alertname=\"{alert}\"");
        let tested = format!("alertname: {alert}\n");
        assert!(
            tests.contains(&raised) || tests.contains(&tested),
            "{alert}"
        );
    }
}

struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl Prometheus {
    /// Scrapes [`METRICS`] every second, in the calling thread's namespace.
    fn start(program: &Path, dir: &Path) -> Self {
        fs::copy(file("rules.yml"), dir.join("rules.yml")).expect("a copy");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n\
             - {{job_name: synledger, static_configs: [{{targets: ['{METRICS}']}}]}}\n"
        );
        fs::write(dir.join("prometheus.yml"), config).expect("a file");
        let mut command = Command::new(program);
        command
            .current_dir(dir)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={ADDRESS}"))
            .arg("--log.level=warn");
        let log = fs::File::create(dir.join("prometheus.log")).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Self(child.spawn().expect("it starts"))
    }
}

/// The result of an expression; `None`: there is no answer yet.
fn query(expr: &str) -> Option<Vec<Value>> {
    let letters = expr.bytes().map(|byte| format!("%{byte:02X}"));
    let path = format!("/api/v1/query?query={}", letters.collect::<String>());
    let mut stream = TcpStream::connect(ADDRESS).ok()?;
    // An answer to HTTP/1.0 is in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let answer: Value = serde_json::from_str(body).ok()?;
    assert_eq!(answer["status"], "success", "{expr}: {answer}");
    answer["data"]["result"].as_array().cloned()
}

/// Each `expr` in a dashboard, and what its variables are queried by.
fn expressions(dashboard: &Value, found: &mut BTreeSet<String>) {
    match dashboard {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value.as_str()) {
                    ("expr", Some(expr)) => drop(found.insert(expr.to_owned())),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// 40 scans, a SYN flood, and connections, for so long.
fn load(sender: &Sender, time: Duration) {
    let start = Instant::now();
    let mut from = 0;
    while start.elapsed() < time {
        sender.scan(from);
        for each in 0..300 {
            let flood = flow((1 << 16) + from * 300 + each, 1024, 7, 443);
            sender.send(&frame(flood, from));
        }
        from += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn every_expression_of_the_dashboard_has_samples_of_a_sensor_under_load() {
    let Some(prometheus) = program("prometheus", "prometheus") else {
        return;
    };
    with_veth(move |veth| {
        ip("link set lo up");
        let dir = tempfile::tempdir().expect("a folder");
        // With a limit: it has a retention.
        let rotated = format!(
            "eve:{},rotate=1m,keep=4MiB",
            dir.path().join("eve.json").display()
        );
        let flags = ["--workers", "2", "--metrics", METRICS, "--output", &rotated];
        let sensor = Sensor::start(&flags);
        let _prometheus = Prometheus::start(&prometheus.path, dir.path());
        let log = || fs::read_to_string(dir.path().join("prometheus.log")).unwrap_or_default();
        let is_up = || query("up").is_some_and(|up| !up.is_empty());
        sensor.wait_for("Prometheus", is_up);
        load(&Sender::new(veth), Duration::from_secs(12));
        let text = fs::read_to_string(file("dashboard.json")).expect("a file");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        let mut all = BTreeSet::new();
        expressions(&dashboard, &mut all);
        assert!(all.len() >= 25, "{} expressions", all.len());
        let variable = "label_values(synledger_books_closed, instance)";
        assert!(text.contains(variable) && query("synledger_books_closed").is_some());
        let mut unused: BTreeSet<&str> = EMPTY.iter().map(|(start, _)| *start).collect();
        for expr in &all {
            let asked = expr
                .replace("$instance", ".*")
                .replace("$__rate_interval", "10s");
            let samples = || query(&asked).is_some_and(|found| !found.is_empty());
            if let Some((start, _)) = EMPTY.iter().find(|(start, _)| expr.contains(start)) {
                // It is an expression, whatever it has.
                assert!(query(&asked).is_some(), "{asked}\n{}", log());
                unused.remove(start);
                continue;
            }
            let give_up = Instant::now() + PATIENCE;
            while !samples() {
                assert!(Instant::now() < give_up, "no sample of {asked}\n{}", log());
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        assert!(unused.is_empty(), "no expression has {unused:?}");
        // Whether a busy machine drops frames is not for a test to say. Without a loss nothing may be alerted on.
        let missed = query("sum(synledger_missed_total) > 0").is_some_and(|some| !some.is_empty());
        let firing = query("ALERTS{alertstate=\"firing\"}").expect("an answer");
        let names = firing
            .iter()
            .filter_map(|one| one["metric"]["alertname"].as_str());
        let names: BTreeSet<&str> = names.collect();
        let missed = Some("SynledgerMissed").filter(|name| missed && names.contains(name));
        let expected: BTreeSet<&str> = FIRING.into_iter().chain(missed).collect();
        assert_eq!(names, expected);
        eprintln!(
            "{} expressions, {} with samples",
            all.len(),
            all.len() - EMPTY.len()
        );
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}
