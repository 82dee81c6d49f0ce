//! Each load against the native server, shortly: what comes out counts what happened, and what is wrong is seen.

// Clippy takes only the test functions themselves for tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pocketsocket-bench");
const SHORT: [&str; 4] = ["--seconds", "0.3", "--warmup", "0.1"];

/// A native server, which ends with its standard input, and so with this.
struct Native {
    child: Child,
    url: String,
}

impl Native {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("native")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").unwrap();
        Self { url: format!("ws://127.0.0.1:{port}/"), child }
    }

    fn load(&self, name: &str, options: &[&str]) -> Output {
        let url = ["--json", "--url", self.url.as_str()];
        Command::new(PROGRAM)
            .arg(name)
            .args(url)
            .args(options)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a load that has to succeed; gives its report.
    fn report(&self, name: &str, options: &[&str]) -> String {
        let output = self.load(name, options);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {text} {errors}");
        text.lines().last().unwrap().to_owned()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// A figure of a report.
fn figure(report: &str, name: &str) -> f64 {
    let (_, rest) = report.split_once(&format!("\"{name}\":")).expect(name);
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

fn short<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&SHORT, options].concat()
}

#[test]
fn echoes_are_counted_and_timed() {
    let native = Native::start(&[]);
    for options in [
        &["--sockets", "3", "--in-flight", "4"][..],
        &["--sockets", "2", "--size", "100000", "--binary"],
        &["--sockets", "2", "--size", "1"],
    ] {
        let report = native.report("echo", &short(options));
        assert!(figure(&report, "messages") > 10.0, "{report}");
        assert!(figure(&report, "latency_p50_us") <= figure(&report, "latency_p99_us"));
        assert!(figure(&report, "errors") == 0.0);
    }
}

#[test]
fn a_rate_is_kept() {
    let native = Native::start(&[]);
    let report = native.report("echo", &short(&["--sockets", "5", "--rate", "1000"]));
    let rate = figure(&report, "messages_per_second");
    assert!((500.0..1500.0).contains(&rate), "{report}");
}

#[test]
fn a_broadcast_reaches_every_receiver() {
    let native = Native::start(&["--broadcast"]);
    let report = native.report("broadcast", &short(&["--receivers", "20", "--in-flight", "3"]));
    assert!(figure(&report, "deliveries") > 20.0, "{report}");
}

#[test]
fn clients_come_and_go() {
    let native = Native::start(&[]);
    let report = native.report("churn", &short(&["--parallel", "5"]));
    assert!(figure(&report, "connections") > 5.0, "{report}");
}

#[test]
fn idle_sockets_end_with_standard_input() {
    let native = Native::start(&[]);
    let report = native.report("idle", &["--sockets", "150", "--echo-bytes", "1000"]);
    assert!(figure(&report, "sockets") == 150.0 && figure(&report, "echoes") == 150.0, "{report}");
}

#[test]
fn victims_and_newcomers_are_timed_beside_a_flood() {
    let native = Native::start(&[]);
    let options = short(&["--flooders", "2", "--victims", "5", "--rate", "20"]);
    let report = native.report("flood", &options);
    assert!(figure(&report, "flood_per_second") > 1000.0, "{report}");
    assert!(figure(&report, "messages") > 0.0 && figure(&report, "handshakes") > 0.0, "{report}");
}

#[test]
fn a_start_is_timed_until_the_first_page() {
    let program = format!("{PROGRAM} native --port {{port}}");
    let url = "http://127.0.0.1:{port}/";
    let options = ["startup", "--json", "--times", "2", "--command", &program, "--url", url];
    let output = Command::new(PROGRAM).args(options).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    assert!(figure(&report, "startup_p50_ms") > 0.0, "{report}");
}

#[test]
fn a_program_that_does_not_start_is_named() {
    let options = ["startup", "--command", "/no/such/program"];
    let output = Command::new(PROGRAM).args(options).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("'/no/such/program' cannot be started"), "{error}");
}

#[test]
fn what_does_not_come_back_is_an_error() {
    // A server that relays to others sends no echo.
    let native = Native::start(&["--broadcast"]);
    let output = native.load("echo", &short(&["--sockets", "1"]));
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(figure(&report, "errors") >= 1.0, "{report}");
}

#[test]
fn nobody_is_loaded_but_this_machine() {
    let output = Command::new(PROGRAM)
        .args(["echo", "--url", "ws://192.0.2.1:80/"])
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let mut text = String::new();
            child.stderr.take().unwrap().read_to_string(&mut text)?;
            Ok((child.wait()?.code(), text))
        })
        .unwrap();
    assert_eq!(output.0, Some(1));
    assert!(output.1.contains("is not on a loopback address"), "{}", output.1);
}
