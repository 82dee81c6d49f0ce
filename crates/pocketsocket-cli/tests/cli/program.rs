//! The executable as a child process, and the folder that it runs in.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

/// No test waits this long, unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An empty folder, gone with its value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn with(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// The executable, about to run in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pocketsocket"));
        command.args(args).current_dir(&self.0).env_remove("POCKETSOCKET_LOG").stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts `--run --port 0` and what is added to it.
    pub(crate) fn serve(self, args: &[&str]) -> Program {
        let all: Vec<&str> = ["--run", "--port", "0"].iter().chain(args).copied().collect();
        let mut child = self.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Program { child, lines, _folder: self }
    }

    /// Starts it with so many files that it may open, which it cannot raise.
    #[cfg(target_os = "linux")]
    pub(crate) fn serve_with_files(self, files: u32) -> Program {
        let run = format!("ulimit -n {files}; exec \"$0\" --run --port 0");
        let mut command = Command::new("sh");
        command.args(["-c", &run, env!("CARGO_BIN_EXE_pocketsocket")]).current_dir(&self.0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Program { child, lines, _folder: self }
    }

    /// Starts `command` with a standard output that nobody reads.
    pub(crate) fn serve_unread(self, command: &mut Command, output: impl Into<Stdio>) -> Program {
        let child = command.stdout(output).spawn().unwrap();
        Program { child, lines: channel().1, _folder: self }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The running executable, with its folder. It is killed with its value, so that no failed test leaves a server behind.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Dropped after the process has ended.
    _folder: Folder,
}

impl Program {
    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of standard output")
    }

    /// What is told until it serves: the lines, and the address in the URL.
    pub(crate) fn banner(&self) -> (Vec<String>, String) {
        let mut told = Vec::new();
        loop {
            let line = self.line();
            let ended = line.starts_with("TTL: ");
            told.push(line);
            if ended {
                let serving = told.iter().find_map(|line| line.strip_prefix("Serving on http://"));
                let address = serving.expect("a URL").to_owned();
                return (told, address);
            }
        }
    }

    /// The address, once it serves.
    pub(crate) fn address(&self) -> String {
        self.banner().1
    }

    /// Ends it as a supervisor does.
    #[cfg(unix)]
    pub(crate) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.exit().code(), Some(0));
    }

    /// Ends it by force: there is no signal to send.
    #[cfg(not(unix))]
    pub(crate) fn stop(self) {}

    #[cfg(target_os = "linux")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    #[cfg(unix)]
    pub(crate) fn exit(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn stderr(&mut self) -> Receiver<String> {
        lines(self.child.stderr.take().expect("standard error was piped"))
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can end in time.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The status line and the body of a GET.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
