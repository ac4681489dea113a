//! The router beside nginx: the same upstream, the same headers, an access log each, alternating rounds.
//!
//! Both proxies have two threads and the same client; what differs is the proxy. Ratios of medians count, because the
//! machine's own speed changes from minute to minute. nginx gathers its log lines as the router does.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Row;

/// Rounds of each proxy.
const ROUNDS: usize = 9;
/// Length of a round.
const SECONDS: u32 = 4;
/// Connections that are kept open.
const CONNECTIONS: u32 = 64;

/// What one round of one proxy gave.
#[derive(Debug, Clone, Copy)]
struct Round {
    requests_per_second: f64,
    p99_ms: f64,
    cpu_us_per_request: f64,
}

/// Measures the router that `command` starts (it gets `--dir D --listen A` appended) beside the installed nginx.
pub(super) fn run(command: &[String]) -> Result<Vec<Row>> {
    let dir = std::env::temp_dir().join(format!("hoist-bench-router-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let outcome = measure(command, &dir);
    fs::remove_dir_all(&dir)?;
    outcome
}

fn measure(command: &[String], dir: &Path) -> Result<Vec<Row>> {
    let (upstream, beside, ours) = (free_address()?, free_address()?, free_address()?);
    let _upstream = Running::nginx(dir, "upstream", upstream, &upstream_config(upstream))?;
    let nginx = Running::nginx(dir, "proxy", beside, &proxy_config(dir, beside, upstream))?;
    let router = Running::router(dir, command, ours, upstream)?;

    let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    let proxies = [(&router, ours), (&nginx, beside)];
    for (proxy, address) in proxies {
        proxy.round(address, 1)?;
    }
    for n in 0..ROUNDS {
        for which in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (proxy, address) = proxies[which];
            let round = proxy.round(address, SECONDS)?;
            eprintln!("{} {n}: {round:.1?}", ["router", "nginx"][which]);
            rounds[which].push(round);
        }
    }
    let lines = fs::read_to_string(dir.join("router.log")).unwrap_or_default();
    ensure!(
        lines.lines().count() > 100,
        "the router wrote no access lines"
    );
    Ok(rows(&rounds, rss_mb(router.child.id())?))
}

fn rows(rounds: &[Vec<Round>; 2], rss: f64) -> Vec<Row> {
    let compare = |what: &str, bar: f64, more_is_better: bool, of: fn(&Round) -> f64| {
        let [ours, theirs] = [0, 1].map(|which| median(rounds[which].iter().map(of).collect()));
        let ratio = ours / theirs;
        Row {
            what: format!("router beside nginx: {what}"),
            bar: format!(
                "{} {bar} ×",
                if more_is_better {
                    "at least"
                } else {
                    "at most"
                }
            ),
            measured: format!("{ratio:.2} × ({ours:.1} to {theirs:.1})"),
            reached: if more_is_better {
                ratio >= bar
            } else {
                ratio <= bar
            },
        }
    };
    vec![
        compare("requests per second", 0.9, true, |round| {
            round.requests_per_second
        }),
        compare("p99 (ms)", 1.3, false, |round| round.p99_ms),
        compare("CPU per request (µs)", 1.3, false, |round| {
            round.cpu_us_per_request
        }),
        Row {
            what: "router: memory after the load (Rss)".to_owned(),
            bar: "none".to_owned(),
            measured: format!("{rss:.1} MB"),
            reached: true,
        },
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn upstream_config(address: SocketAddr) -> String {
    let body = "x".repeat(1024);
    format!(
        "worker_processes 1;\nevents {{ worker_connections 4096; }}\nhttp {{\n access_log off;\n keepalive_requests 1000000000;\n \
         server {{ listen {address}; location / {{ return 200 '{body}'; }} }}\n}}\n"
    )
}

fn proxy_config(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let mut headers = String::new();
    for (name, value) in [
        ("Host", "$http_host"),
        ("Connection", "\"\""),
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-Host", "$http_host"),
        ("X-Forwarded-Port", "$server_port"),
        ("X-Request-Id", "$request_id"),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(headers, "  proxy_set_header {name} {value};");
    }
    format!(
        "worker_processes 2;\nevents {{ worker_connections 4096; }}\nhttp {{\n \
         log_format line '$msec o $request_method $uri $status $body_bytes_sent $request_time host=$http_host request_id=$request_id';\n \
         access_log {log} line buffer=64k flush=200ms;\n keepalive_requests 1000000000;\n tcp_nodelay on;\n \
         upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n \
         server {{\n  listen {address};\n  server_name app.localhost;\n  proxy_http_version 1.1;\n{headers}  \
         location / {{ proxy_pass http://app; }}\n }}\n}}\n",
        log = dir.join("nginx.log").display(),
    )
}

/// The table that the router starts from, as its file format says.
fn table(dir: &Path, upstream: SocketAddr) -> String {
    format!(
        r#"{{"format": 1, "version": {{"epoch": 1, "number": 1}},
            "hosts": {{"app.localhost": {{"app": "app", "service": "web"}}}},
            "services": [{{"app": "app", "service": "web", "timeout_ms": 60000, "body_bytes_max": 1048576,
                "access_log": {log:?}, "target": {{"kind": "processes", "endpoints": [{{"address": "{upstream}",
                    "slot": {{"app": "app", "service": "web", "attempt": {{"epoch": 1, "number": 1}}, "slot": 1}}}}]}}}}]}}"#,
        log = dir.join("router.log"),
    )
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A server under measurement; ends with the value.
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx takes its workers along on SIGTERM only.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

impl Running {
    fn nginx(dir: &Path, name: &str, address: SocketAddr, config: &str) -> Result<Self> {
        let path: PathBuf = dir.join(format!("{name}.conf"));
        let common = format!(
            "daemon off;\npid {0}/{name}.pid;\nerror_log {0}/{name}.error warn;\n",
            dir.display()
        );
        fs::write(&path, common + config)?;
        let mut nginx = Command::new("nginx");
        nginx
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg(dir.join(format!("{name}.error")));
        Self::start(&mut nginx, address)
    }

    fn router(
        dir: &Path,
        command: &[String],
        address: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<Self> {
        let own = dir.join("router");
        fs::create_dir_all(&own)?;
        fs::write(own.join("table.json"), table(dir, upstream))?;
        let (program, arguments) = command.split_first().context("no command for the router")?;
        let mut router = Command::new(program);
        router
            .args(arguments)
            .arg("--dir")
            .arg(&own)
            .arg("--listen")
            .arg(address.to_string());
        Self::start(&mut router, address)
    }

    fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let child = command
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let running = Self { child };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(
                began.elapsed() < Duration::from_secs(10),
                "{command:?} does not listen on {address}"
            );
            sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// One run of the client against this proxy.
    fn round(&self, address: SocketAddr, seconds: u32) -> Result<Round> {
        let before = cpu_us(self.child.id())?;
        let output = Command::new("wrk")
            .args(["-t2", "--latency", "-H", "Host: app.localhost"])
            .arg(format!("-c{CONNECTIONS}"))
            .arg(format!("-d{seconds}s"))
            .arg(format!("http://{address}/bench"))
            .output()
            .context("cannot run wrk")?;
        let cpu = cpu_us(self.child.id())? - before;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
            bail!(
                "wrk failed:\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let word_after = |label: &str| -> Result<&str> {
            let rest = text
                .split(label)
                .nth(1)
                .with_context(|| format!("wrk said no {label}:\n{text}"))?;
            rest.split_whitespace().next().context("wrk's words ended")
        };
        let requests_per_second: f64 = word_after("Requests/sec:")?.parse()?;
        let requests: f64 = text
            .lines()
            .find(|line| line.contains(" requests in "))
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .context("wrk counted nothing")?;
        Ok(Round {
            requests_per_second,
            p99_ms: milliseconds(word_after("99%")?)?,
            cpu_us_per_request: cpu / requests,
        })
    }
}

fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("not a length of time: {text}")
}

/// CPU time in microseconds of a process and its children that run.
fn cpu_us(pid: u32) -> Result<f64> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut total = 0.0;
    for pid in children
        .split_whitespace()
        .map(str::to_owned)
        .chain([pid.to_string()])
    {
        // The scheduler's own account in nanoseconds, of every thread: ticks would be too coarse for short rounds.
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let ran: f64 = stat
                .split_whitespace()
                .next()
                .context("an empty schedstat")?
                .parse()?;
            total += ran / 1000.0;
        }
    }
    Ok(total)
}

fn rss_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}
