//! How long a server takes to be there: from starting the program to its first page, or as the program itself tells.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Failure,
    args::{Args, address_of},
    handshake, meter,
    report::Report,
};

/// Between two looks whether the page is there.
const LOOK: Duration = Duration::from_micros(200);
/// A program that takes longer does not start.
const LIMIT: Duration = Duration::from_secs(20);

/// A program that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `startup`: see the program's help.
pub(crate) fn startup(mut args: Args) -> Result<Report, Failure> {
    let command: String = args.optional("command")?.ok_or("--command is needed")?;
    let url: Option<String> = args.optional("url")?;
    let times = args.count("times", 10)?;
    args.finish()?;

    let mut took = meter::histogram()?;
    for _ in 0..times {
        let port = free_port()?.to_string();
        let command = command.replace("{port}", &port);
        let address = url.as_ref().map(|url| address_of(&url.replace("{port}", &port)));
        let time = match address.transpose()? {
            Some(address) => until_page(&command, address)?,
            None => until_told(&command)?,
        };
        took.saturating_record(time.as_nanos() as u64);
    }
    let mut report = Report::new("startup");
    report.count("times", took.len());
    report.number("startup_min_ms", took.min() as f64 / 1e6);
    report.number("startup_p50_ms", took.value_at_quantile(0.5) as f64 / 1e6);
    report.number("startup_max_ms", took.max() as f64 / 1e6);
    Ok(report)
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Starts the program. Its arguments are what spaces separate: no shell is started and timed with it.
fn start(command: &str, stdout: Stdio) -> Result<Running, Failure> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("--command is empty")?;
    let child = Command::new(program)
        .args(words)
        // Open as long as the program runs: some end with it.
        .stdin(Stdio::piped())
        .stdout(stdout)
        .spawn()
        .map_err(|error| format!("'{program}' cannot be started: {error}"))?;
    Ok(Running(child))
}

fn until_page(command: &str, address: SocketAddr) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut running = start(command, Stdio::null())?;
    while let Err(failure) = handshake::get_page(address) {
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("'{command}' ended with {status}").into());
        }
        if began.elapsed() > LIMIT {
            return Err(format!("'{command}' serves no page: {failure}").into());
        }
        thread::sleep(LOOK);
    }
    Ok(began.elapsed())
}

fn until_told(command: &str) -> Result<Duration, Failure> {
    let mut running = start(command, Stdio::piped())?;
    let output = running.0.stdout.take().ok_or("no output")?;
    let (tell, told) = mpsc::channel();
    // It ends with the program's output, at the latest when the program is killed.
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).find_map(|line| {
            let millis: f64 = line.strip_prefix("ready ")?.trim().parse().ok()?;
            tell.send(millis).ok()
        })
    });
    let millis = told
        .recv_timeout(LIMIT)
        .map_err(|_| format!("'{command}' has not printed a line 'ready MS'"))?;
    Ok(Duration::try_from_secs_f64(millis / 1e3)?)
}
