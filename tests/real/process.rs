#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio::time::Instant;

/// A component that runs. Dropping it, also by a panic, kills it and waits until it is gone; and it does not outlive us,
/// however we end.
pub struct Process {
    name: String,
    child: Child,
    reaper: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in `folder`, where its output goes as well. Of our environment it sees `PATH` and `HOME` only.
    pub fn start(name: impl Into<String>, mut command: Command, folder: &Path) -> Self {
        let name = name.into();
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let err = out.try_clone().unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err);
        let reaper = reaper();
        #[cfg(unix)]
        command.process_group(reaper.id().try_into().unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} ({command:?}) did not start: {error}"));
        Self { name, child, reaper, log }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it has written: what one wants to see when something went wrong.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(25)..];
        format!("--- the last lines of {} ({}):\n{}\n---", self.name, self.log.display(), last.join("\n"))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until `ready`, asked again and again, says so.
    ///
    /// # Panics
    ///
    /// With the end of its log, if it ended instead, or is not ready in time.
    pub async fn until<F: Future<Output = bool>>(
        &mut self,
        what: &str,
        within: Duration,
        mut ready: impl FnMut() -> F,
    ) {
        let started = Instant::now();
        while !ready().await {
            if let Some(status) = self.ended() {
                panic!("{} ended ({status}) before {what}\n{}", self.name, self.tail());
            }
            assert!(started.elapsed() < within, "{}: not {what} after {within:?}\n{}", self.name, self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a signal: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), id]).status().unwrap().success());
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        self.until_ended(within).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn until_ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(started.elapsed() < within, "{} did not end within {within:?}\n{}", self.name, self.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reaper.kill();
        let _ = self.reaper.wait();
    }

    /// What it keeps in memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("Linux tells it");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// Kills its process group once we are gone: then nobody holds the other end of its standard input any more. It is there
/// before the process that it is for, which starts in that group: at no moment could that one be left behind.
fn reaper() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read -r _; kill -9 0"]);
    #[cfg(unix)]
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // Nobody may be listening, and a panic here would leave the others alive.
            let _ = writeln!(io::stderr(), "{}", self.tail());
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("id", &self.child.id()).finish_non_exhaustive()
    }
}
