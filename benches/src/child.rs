//! Owns timing a part of a child process from outside: within a simulation clocks are virtual, so the child says when
//! the part begins and ends, and the parent reads the real clock. A bare child is timed in the same way, so that both
//! are measured alike. Does not own what the child does.
//!
//! At each mark the child writes a byte to its standard output and waits for a byte on its standard input: the parent
//! has read clock and processor time before the child goes on.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The first argument of a child. Nobody types it.
const HIDDEN: &str = "__measured";

/// What the measured part took.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Real time.
    pub wall: Duration,
    /// Processor time of the child's main thread, where the system tells it (Linux). On a shared machine it is the
    /// steadier of the two.
    pub cpu: Option<Duration>,
    /// Processor time before the measured part.
    pub set_up: Option<Duration>,
    /// Memory of the child when the measured part begins, in kB (Linux).
    pub resident_kb: Option<u64>,
}

/// The child's side: the marks.
pub struct Marks(());

impl Marks {
    /// The measured part begins now.
    pub fn begin(&self) {
        mark().expect("the parent listens");
    }

    /// The measured part has ended.
    pub fn end(&self) {
        mark().expect("the parent listens");
    }
}

fn mark() -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(b"!")?;
    stdout.flush()?;
    io::stdin().read_exact(&mut [0])
}

/// Does the work of a child, if this process is one, and ends it; returns if it is none. First thing in a bench target
/// that uses [`measure`]. `work` gets the child's arguments.
pub fn entry(work: impl FnOnce(&[String], &Marks)) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some(HIDDEN) {
        work(&arguments[1..], &Marks(()));
        std::process::exit(0);
    }
}

/// Starts this executable again with these arguments, and times the part that it marks.
///
/// # Panics
/// If the child cannot be started or ends before its second mark; its words are on standard error.
pub fn measure(arguments: &[String]) -> Measured {
    let executable = std::env::current_exe().expect("this executable has a path");
    let mut command = Command::new(executable);
    command
        .arg(HIDDEN)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the child can be started");
    let begin = take_mark(&mut child);
    let (set_up, resident_kb) = (begin.1, begin.2);
    let end = take_mark(&mut child);
    let status = child.wait().expect("the child can be waited for");
    assert!(
        status.success(),
        "the child failed after its part: {status}"
    );
    let cpu = begin.1.zip(end.1).map(|(begin, end)| end - begin);
    Measured {
        wall: end.0 - begin.0,
        cpu,
        set_up,
        resident_kb,
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn take_mark(child: &mut Child) -> (Instant, Option<Duration>, Option<u64>) {
    let mut byte = [0];
    let read = child
        .stdout
        .as_mut()
        .expect("it is piped")
        .read_exact(&mut byte);
    let now = Instant::now();
    if let Err(error) = read {
        let status = child.wait();
        panic!("the child ended before its mark ({error}): {status:?}");
    }
    let (cpu, resident_kb) = (processor_time(child.id()), resident_kb(child.id()));
    child
        .stdin
        .as_mut()
        .expect("it is piped")
        .write_all(&byte)
        .expect("the child waits for it");
    (now, cpu, resident_kb)
}

/// The first number of `schedstat` is the time on a processor in nanoseconds (Linux, Documentation/scheduler/sched-stats).
fn processor_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// `VmRSS` of the process (Linux, proc(5)).
fn resident_kb(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
