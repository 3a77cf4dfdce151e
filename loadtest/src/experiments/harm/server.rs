//! nginx at the receiver's end, and wrk at the sender's.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::lab::process::{Running, quote};
use crate::lab::{End, Lab, RECEIVER_CPU, SENDER_CPU};
use crate::receivers::peers::{find, last_output};

/// Documentation addresses (RFC 5737), used inside the lab's namespaces only.
const CLIENT: &str = "192.0.2.1/24";
const SERVER: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 2), 24);
const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(20);

/// wrk script: prints wrk's results as JSON, times in microseconds.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local errors = 0
  for _, count in pairs(summary.errors) do errors = errors + count end
  io.write(string.format('\n{"us":%d,"requests":%d,"bytes":%d,"errors":%d,"p99_us":%d}\n',
    summary.duration, summary.requests, summary.bytes, errors, latency:percentile(99)))
end
"#;

/// A running nginx; dropping this stops it.
pub struct Server {
    folder: PathBuf,
    running: Option<Running>,
}

impl Drop for Server {
    /// SIGTERM also ends its worker process; SIGKILL would leave that behind.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop(Signal::SIGTERM, PATIENCE);
        }
    }
}

/// Result of one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goodput {
    /// Bytes received per second.
    pub bytes_per_s: f64,
    /// Answers per second.
    pub requests_per_s: f64,
    /// 99th percentile of the latency.
    pub p99_us: f64,
}

#[derive(Deserialize)]
struct WrkReport {
    us: f64,
    requests: f64,
    bytes: f64,
    errors: u64,
    p99_us: f64,
}

impl Server {
    /// Starts it with one page of `bytes` bytes and its files in `folder`; returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(lab: &Lab, folder: &Path, bytes: u32) -> Result<Self> {
        let write = |name: &str, text: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        fs::create_dir(folder.join("www")).context("a folder for pages")?;
        write("www/page", &vec![b'.'; usize::try_from(bytes)?])?;
        write("wrk.lua", SCRIPT.as_bytes())?;
        write("nginx.conf", settings(folder).as_bytes())?;
        let (address, bits) = SERVER;
        let own = format!("{address}/{bits}");
        for (end, address) in [(End::Sender, CLIENT), (End::Receiver, own.as_str())] {
            lab.run(end, "ip", &["addr", "add", address, "dev", lab.device(end)])?;
        }
        let program = find("nginx").context("nginx is not installed")?;
        let program = program.to_str().context("a path in UTF-8")?;
        let mut command = lab.command(End::Receiver, Some(RECEIVER_CPU), program);
        let errors = folder.join("nginx.errors");
        command.arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-p").arg(folder).arg("-e").arg(errors);
        let mut running = Running::start(command, "nginx", folder)?;
        running.wait_until("it answers", PATIENCE, |_| {
            let to = SocketAddr::from((address, PORT));
            let connected = lab.inside(End::Sender, || {
                Ok(TcpStream::connect_timeout(&to, Duration::from_millis(200))?)
            });
            connected.is_ok()
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            running: Some(running),
        })
    }

    /// Runs wrk once.
    ///
    /// # Errors
    ///
    /// When wrk fails, or any request.
    pub fn load(&self, lab: &Lab, seconds: f64, connections: u32, close: bool) -> Result<Goodput> {
        let program = find("wrk").context("wrk is not installed")?;
        let program = program.to_str().context("a path in UTF-8")?;
        let mut command = lab.command(End::Sender, Some(SENDER_CPU), program);
        let (address, _) = SERVER;
        command.args(["-t", "1", "-c", &connections.to_string()]);
        // wrk takes whole seconds only.
        command.args(["-d", &format!("{:.0}s", seconds.ceil())]);
        command.arg("-s").arg(self.folder.join("wrk.lua"));
        if close {
            command.args(["-H", "Connection: close"]);
        }
        command.arg(format!("http://{address}:{PORT}/page"));
        let running = Running::start(command, "wrk", &self.folder)?;
        let patience = PATIENCE + Duration::from_secs_f64(seconds * 2.0);
        let (ended, _) = running.finish(patience)?;
        let output = last_output(&self.folder, "wrk");
        if ended.code != Some(0) {
            bail!("wrk {ended}. {}", quote(&output));
        }
        goodput(&output)
    }
}

fn goodput(output: &str) -> Result<Goodput> {
    let line = output.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("wrk printed no figures: {output}"))?;
    let report: WrkReport = serde_json::from_str(line).with_context(|| line.to_owned())?;
    if report.errors > 0 || report.requests <= 0.0 || report.us <= 0.0 {
        bail!("the web server failed under load: {line}");
    }
    let seconds = report.us / 1e6;
    Ok(Goodput {
        bytes_per_s: report.bytes / seconds,
        requests_per_s: report.requests / seconds,
        p99_us: report.p99_us.max(1.0),
    })
}

/// nginx.conf: one worker process, no access log.
fn settings(folder: &Path) -> String {
    let (address, _) = SERVER;
    let folder = folder.display();
    format!(
        "user root;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen {address}:{PORT} backlog=20000; root {folder}/www; }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::goodput;

    #[test]
    fn results_are_per_second_and_a_failed_request_is_an_error() {
        let output = "Running 3s test\n  99%  1ms\n\n{\"us\":2000000,\"requests\":100,\"bytes\":3000,\"errors\":0,\"p99_us\":750}\n";
        let found = goodput(output).expect("figures");
        assert_eq!(
            (found.bytes_per_s, found.requests_per_s, found.p99_us),
            (1500.0, 50.0, 750.0)
        );
        let failed = output.replace("\"errors\":0", "\"errors\":3");
        assert!(goodput(&failed).is_err());
        assert!(goodput("Running\n").is_err());
    }
}
