//! The page in a browser, driven by the DevTools protocol over a pipe.

use super::{busy, write};
use crate::common::synledger;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Widths of the window, CSS pixels.
const WIDTHS: [u32; 3] = [360, 900, 1600];

/// Names of the program.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser without a window; it ends when it is dropped.
struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    number: u64,
    session: String,
    /// Events since the last look.
    events: Vec<Value>,
}

fn installed() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| {
        let asked = Command::new(name)
            .arg("--version")
            .stderr(Stdio::null())
            .output();
        asked.is_ok_and(|output| output.status.success())
    })
}

impl Browser {
    /// Starts it with an empty page.
    fn start(program: &str, profile: &Path) -> Self {
        // The protocol is on descriptors 3 and 4. As root it needs --no-sandbox; here it shows only a page of ours.
        let line = format!(
            "exec {program} --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
             --disable-dev-shm-usage --user-data-dir=\"$0\" --remote-debugging-pipe 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1"
        );
        let mut child = Command::new("bash")
            .args(["-c", &line])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut browser = Self {
            child,
            to,
            from,
            number: 0,
            session: String::new(),
            events: Vec::new(),
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method; returns its result.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let to = self.to.as_mut().expect("open");
        to.write_all(format!("{message}\0").as_bytes())
            .expect("it reads");
        to.flush().expect("it reads");
        loop {
            let answer = self.receive();
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("it writes");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn wait_for(&mut self, method: &str) {
        loop {
            if self.events.iter().any(|event| event["method"] == method) {
                return;
            }
            let event = self.receive();
            self.events.push(event);
        }
    }

    /// The value of an expression, once its promise is fulfilled.
    fn evaluate(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Opens the page in a window of this width.
    fn open(&mut self, url: &str, width: u32, scheme: &str) {
        self.events.clear();
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", features);
        self.ask("Page.navigate", json!({ "url": url }));
        self.wait_for("Page.loadEventFired");
        // Two frames later everything is drawn.
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
    }

    /// What was requested since, and what was complained about.
    fn requests_and_complaints(&self) -> (Vec<String>, Vec<&Value>) {
        let of = |method: &'static str| {
            self.events
                .iter()
                .filter(move |event| event["method"] == method)
        };
        let url = |event: &Value| {
            event["params"]["request"]["url"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let requests = of("Network.requestWillBeSent").map(url).collect();
        let complaints = of("Runtime.consoleAPICalled");
        let complaints = complaints
            .chain(of("Runtime.exceptionThrown"))
            .chain(of("Log.entryAdded"));
        (requests, complaints.collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its pipe it ends by itself, and its own processes with it.
        self.to = None;
        let _ = self.child.wait();
    }
}

/// Of each canvas: its width, and how many of its pixels are of another colour than the page.
const CANVASES: &str = "[...document.querySelectorAll('canvas')].map(canvas => {
  const { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let drawn = 0;
  for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 0;
  return [width, drawn];
})";

/// Texts of the page that are cut or lie over one another would need a person; this finds a page wider than its window.
const OVERFLOW: &str =
    "document.documentElement.scrollWidth - document.documentElement.clientWidth";

#[test]
fn the_page_draws_its_pictures_asks_for_nothing_and_fits_every_window() {
    let Some(program) = installed() else {
        eprintln!("skipped: the page in a browser: needs chromium");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    // The name would be an element and a request.
    let file = write(
        dir.path(),
        "<img src=x onerror=console.log(1)>.pcap",
        &busy(),
    );
    let page = dir.path().join("page.html");
    let made = synledger()
        .args(["read", "--report"])
        .arg(format!("html:{}", page.display()))
        .arg(&file)
        .output();
    assert!(made.expect("the program starts").status.success());
    let mut browser = Browser::start(program, &dir.path().join("profile"));
    let url = format!("file://{}", page.display());
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        for width in WIDTHS {
            browser.open(&url, width, scheme);
            let canvases = browser.evaluate(CANVASES);
            let canvases = canvases.as_array().expect("a list");
            assert_eq!(canvases.len(), 3, "attempts, ports, scans");
            for canvas in canvases {
                let (across, drawn) = (canvas[0].as_u64(), canvas[1].as_u64());
                assert!(across > Some(u64::from(width) / 2), "{width}: {canvases:?}");
                assert!(drawn > Some(1000), "{width}: {canvases:?}");
            }
            assert_eq!(
                browser.evaluate(OVERFLOW),
                0,
                "{width}: wider than the window"
            );
            let (requests, complaints) = browser.requests_and_complaints();
            assert_eq!(requests, [url.as_str()], "{width}");
            assert!(complaints.is_empty(), "{width}: {complaints:#?}");
        }
        backgrounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backgrounds[0], backgrounds[1], "light and dark");
    assert_eq!(browser.evaluate("document.images.length"), 0);
    let title = browser.evaluate("document.querySelector('h1').textContent");
    assert!(
        title
            .as_str()
            .is_some_and(|it| it.ends_with("<img src=x onerror=console.log(1)>.pcap")),
        "{title}"
    );
    eprintln!("report: {program}: {} widths, light and dark", WIDTHS.len());
}

/// A window that changes its width, and a person who points at a scan.
#[test]
fn pictures_follow_the_window_and_name_the_scan_under_the_pointer() {
    let Some(program) = installed() else {
        eprintln!("skipped: pictures that follow the window: needs chromium");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "busy.pcap", &busy());
    let page = dir.path().join("page.html");
    let value = format!("--report=html:{}", page.display());
    let made = synledger().arg("read").arg(value).arg(&file).output();
    assert!(made.expect("the program starts").status.success());
    let mut browser = Browser::start(program, &dir.path().join("profile"));
    browser.open(&format!("file://{}", page.display()), 1600, "light");
    let size = json!({ "width": 500, "height": 900, "deviceScaleFactor": 1, "mobile": false });
    browser.ask("Emulation.setDeviceMetricsOverride", size);
    browser
        .evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('canvas').length"),
        3
    );
    assert_eq!(browser.evaluate(OVERFLOW), 0);
    // The scans are in the third second of two hundred: where the pointer goes, step by step.
    let place = browser.evaluate(
        "(() => { const plot = document.querySelector('#plot-episodes .u-over'); plot.scrollIntoView();
           const { left, top, width } = plot.getBoundingClientRect(); return [left, top, width]; })()",
    );
    let [left, top, width] = [0, 1, 2].map(|at| place[at].as_f64().expect("a number"));
    for step in 0..20 {
        let x = left + width * f64::from(step) / 100.0;
        browser.ask(
            "Input.dispatchMouseEvent",
            json!({ "type": "mouseMoved", "x": x, "y": top + 40.0 }),
        );
    }
    let hint = browser.evaluate("document.getElementById('episode').textContent");
    assert_eq!(
        hint,
        "Port scan: 203.0.113.5 -> 198.51.100.9 on ports 1-6; verdict: scan"
    );
    assert!(browser.requests_and_complaints().1.is_empty());
}
