//! Runs every command of README and loadtest/RESULTS.md as written, and compares its books and losses with what was
//! sent.

mod common;

use common::netns::{SENSOR, Veth, ip, with_veth};
use common::syn;
use craft::{Flow, Link};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use packet::TxSocket;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// New connections sent to a recipe.
const CONNECTIONS: u32 = 50;
/// Files whose recipes are run.
const FILES: [&str; 2] = ["README.md", "loadtest/RESULTS.md"];
/// Recipes that the test skips, and why.
const SKIPPED: [(&str, &str); 3] = [
    ("make load-quick", "ten minutes"),
    ("make load", "three hours"),
    ("make test", "runs this test, and all others"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Commands in the code blocks of a file: lines that begin with a program, without comments.
fn recipes(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(file)).expect(file);
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    let command = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let program = line.split(' ').next().unwrap_or_default();
        let programs = [
            "make",
            "sudo",
            "synledger",
            "curl",
            "apt-get",
            "cargo",
            "rustup",
        ];
        (programs.contains(&program) || program.contains('=') || program.starts_with("tools/"))
            .then(|| line.to_owned())
    };
    let recipes: Vec<String> = lines.filter_map(command).collect();
    assert!(recipes.len() >= 6, "{file}: {recipes:?}");
    recipes
}

/// The function that runs a recipe.
fn runner(recipe: &str) -> Option<fn(&str)> {
    match recipe {
        "make run" | "make run ARGS=\"-i lo,auto\"" => Some(watches),
        "make run ARGS=--dry-run" | "synledger check" => Some(prints),
        "make install" => Some(installs),
        "make build flood" => Some(prepares),
        "sudo tools/replay target/flood.pcap" => Some(floods_as_fast_as_it_goes),
        _ if recipe.starts_with("sudo tools/replay --rate ") => Some(floods_without_a_loss),
        _ if recipe.starts_with("sudo target/release/loadtest reconcile ") => Some(reconciles),
        _ if recipe.starts_with("sudo tcpdump ") => Some(reads_a_pipe),
        _ => None,
    }
}

/// Why no test runs a recipe.
fn why_skipped(recipe: &str) -> Option<&'static str> {
    let found = SKIPPED.iter().find(|(one, _)| *one == recipe);
    found.map(|(_, why)| *why)
}

#[test]
fn every_recipe_works_as_written() {
    let mut runs = Vec::new();
    for recipe in FILES.map(recipes).concat() {
        if let Some(why) = why_skipped(&recipe) {
            eprintln!("left out: {recipe}: {why}");
        } else {
            let runner = runner(&recipe);
            let runner =
                runner.unwrap_or_else(|| panic!("{FILES:?} show `{recipe}`, and no test runs it"));
            runs.push((recipe, runner));
        }
    }
    let at_a_rate = |(recipe, _): &(String, _)| recipe.contains("tools/replay --rate ");
    assert!(runs.iter().any(at_a_rate), "{runs:?}");
    if !geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return;
    }
    // First, so that no recipe waits for it.
    run("make build");
    let mut seen = BTreeSet::new();
    for (recipe, runner) in runs {
        if seen.insert(recipe.clone()) {
            eprintln!("recipe: {recipe}");
            runner(&recipe);
        }
    }
}

/// The recipe in a shell, as root, in the repository's root, with the built program in PATH.
fn shell(recipe: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let built = root().join("target/release");
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            &format!("exec {}", recipe.trim_start_matches("sudo ")),
        ])
        .current_dir(root())
        .env(
            "PATH",
            format!("{}:{path}:/usr/sbin:/sbin", built.display()),
        )
        .stdin(Stdio::null());
    // Settings of the make and cargo that run this test are not for the recipe.
    for (name, _) in std::env::vars() {
        let of_make = name.starts_with("MAKE") || name == "MFLAGS";
        if of_make || name.starts_with("CARGO_TARGET_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a recipe that must succeed; returns standard output, then standard error.
fn run(recipe: &str) -> String {
    let output = shell(recipe).output().expect("bash starts");
    let text =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = text.concat();
    assert_eq!(output.status.code(), Some(0), "{recipe}: {text}");
    text
}

fn prints(recipe: &str) {
    with_default_route(recipe, |recipe, _| {
        run(recipe);
    });
}

fn prepares(recipe: &str) {
    run(recipe);
    assert!(
        root()
            .join("target/flood.pcap")
            .metadata()
            .is_ok_and(|file| file.len() > 1 << 20)
    );
}

fn installs(recipe: &str) {
    let into = tempfile::tempdir().expect("a folder");
    let text = run(&format!("{recipe} DESTDIR={}", into.path().display()));
    let program = into.path().join("usr/local/bin/synledger");
    let output = Command::new(program).arg("--version").output();
    assert!(output.is_ok_and(|output| output.status.success()), "{text}");
}

/// Runs `test` where a default route leads out by [`SENSOR`].
fn with_default_route(recipe: &str, test: impl FnOnce(&str, Veth) + Send + 'static) {
    let recipe = recipe.to_owned();
    with_veth(move |veth| {
        ip("link set lo up");
        ip(&format!("address add 192.0.2.1/24 dev {SENSOR}"));
        ip(&format!("route add default via 192.0.2.2 dev {SENSOR}"));
        test(&recipe, veth);
    });
}

/// A recipe that runs until it is stopped; drop kills its processes.
struct Running {
    child: Child,
    dir: tempfile::TempDir,
}

impl Running {
    fn start(recipe: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let child = shell(recipe)
            .stdout(file("log"))
            .stderr(file("stderr"))
            .spawn();
        Self {
            child: child.expect("bash starts"),
            dir,
        }
    }

    fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn wait_for(&mut self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !happened(self) {
            let over = self.child.try_wait().expect("a child");
            let stderr = self.content("stderr");
            assert!(
                over.is_none() && Instant::now() < give_up,
                "no {what}: {over:?}\n{stderr}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its descendants of this name.
    fn processes(&self, name: &str) -> Vec<Pid> {
        let mut left = vec![self.child.id()];
        let mut found = Vec::new();
        while let Some(pid) = left.pop() {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim() == name {
                found.push(Pid::from_raw(i32::try_from(pid).expect("a process id")));
            }
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            left.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        found
    }

    /// Ends the program as Ctrl-C does; returns log and standard error.
    fn end(mut self, name: &str) -> (String, String) {
        let processes = self.processes(name);
        assert_eq!(processes.len(), 1, "{name}: {}", self.content("stderr"));
        kill(processes[0], Signal::SIGINT).expect("it runs");
        let status = self.child.wait().expect("a child");
        let stderr = self.content("stderr");
        assert_eq!(status.code(), Some(0), "{stderr}");
        (self.content("log"), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for name in ["synledger", "tcpdump", "make", "bash"] {
            for pid in self.processes(name) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
    }
}

fn send_connections(veth: Veth) {
    let sender = TxSocket::open(veth.sender).expect("a sender opens");
    for n in 0..CONNECTIONS {
        let [_, _, c, d] = n.to_be_bytes();
        let flow = Flow::v4([198, 51, c, d], 1024, [192, 0, 2, 1], 443);
        sender
            .send(&Link::ethernet().frame(&syn(flow, n)))
            .expect("a frame is sent");
    }
}

fn connections(log: &str) -> usize {
    log.matches("New connection: 198.51.").count()
}

/// Starts a recipe, sends connections once it has printed `ready`, and ends `program` when each has its line. Nothing
/// may be missed. Returns the log.
fn sees_connections(recipe: &str, veth: Veth, ready: &str, program: &str) -> String {
    let mut running = Running::start(recipe);
    running.wait_for(ready, |running| running.content("stderr").contains(ready));
    send_connections(veth);
    running.wait_for("lines", |running| {
        connections(&running.content("log")) == CONNECTIONS as usize
    });
    let (log, stderr) = running.end(program);
    let last = "nothing was missed\nthe books close: all is accounted for; ";
    assert!(stderr.contains(last), "{stderr}");
    log
}

/// `make run …`.
fn watches(recipe: &str) {
    with_default_route(recipe, |recipe, veth| {
        let log = sees_connections(recipe, veth, "Ctrl-C ends it", "synledger");
        assert!(
            log.lines().all(|line| line.starts_with("20")),
            "standard output has only the log: {log}"
        );
    });
}

/// `tcpdump | synledger read -`.
fn reads_a_pipe(recipe: &str) {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        eprintln!("skipped: {recipe}: tcpdump is not installed");
        return;
    }
    with_default_route(recipe, |recipe, veth| {
        sees_connections(recipe, veth, "listening on", "tcpdump");
    });
}

/// Output of `tools/replay`: its own last line, and the sensor's lines before it.
struct Replayed {
    output: String,
}

impl Replayed {
    fn of(recipe: &str) -> Self {
        let replayed = Self {
            output: run(recipe),
        };
        let [sent, offered, read, dropped, shed] =
            [" frames sent", " offered; ", " read", " dropped", " shed: "]
                .map(|what| replayed.number(what));
        let before = replayed.number(" lost before the rings");
        let refused = replayed.number(" shed in the kernel");
        assert_eq!(offered + before + refused, sent, "{}", replayed.output);
        assert_eq!(read + dropped + shed, offered, "{}", replayed.output);
        replayed.assert_reported("dropped by full rings", dropped);
        replayed.assert_reported("shed under load", shed + refused);
        replayed
    }

    fn line(&self) -> &str {
        let line = self
            .output
            .lines()
            .find(|line| line.starts_with("replay: "));
        line.unwrap_or_else(|| panic!("no books: {}", self.output))
    }

    /// The number in front of `what`.
    fn number(&self, what: &str) -> u64 {
        let line = self.line();
        let until = line
            .find(what)
            .unwrap_or_else(|| panic!("no `{what}`: {line}"));
        let word = line[..until].rsplit(' ').next().expect("a word");
        word.parse()
            .unwrap_or_else(|_| panic!("{word} before {what}: {line}"))
    }

    /// The sensor's last lines name this loss, if there is one.
    fn assert_reported(&self, cause: &str, lost: u64) {
        let line = |line: &&str| line.starts_with("missed: ") && line.contains(cause);
        match self.output.lines().find(line) {
            None => assert_eq!(lost, 0, "{}", self.output),
            Some(line) => assert!(
                line.starts_with(&format!("missed: {lost} of ")),
                "{lost}: {line}"
            ),
        }
    }
}

/// At full speed frames may be lost: losses are reported, and all adds up.
fn floods_as_fast_as_it_goes(recipe: &str) {
    let replayed = Replayed::of(recipe);
    let line = replayed.line();
    let closes =
        line.ends_with("every frame is accounted for") || line.ends_with("nothing was missed");
    assert!(closes, "{line}");
    assert!(
        replayed
            .output
            .contains("the books close: all is accounted for"),
        "{}",
        replayed.output
    );
}

/// At a rate far below that of one worker nothing is shed or lost.
fn floods_without_a_loss(recipe: &str) {
    let replayed = Replayed::of(recipe);
    assert!(
        replayed.line().ends_with(": nothing was missed"),
        "{}",
        replayed.output
    );
    assert!(
        replayed
            .output
            .contains("nothing was missed\nthe books close: "),
        "{}",
        replayed.output
    );
    assert!(
        replayed.number(" frames sent") >= 100_000,
        "{}",
        replayed.output
    );
}

fn reconciles(recipe: &str) {
    let output = run(recipe);
    assert!(output.contains(" lines close\n"), "{output}");
}

#[test]
fn a_recipe_without_a_test_is_found() {
    for unknown in ["make run ARGS=--promiscuous", "make load-results"] {
        assert!(runner(unknown).is_none() && why_skipped(unknown).is_none());
    }
    let all = FILES.map(recipes).concat();
    assert!(all.iter().all(|recipe| !recipe.contains('#')), "{all:?}");
}
