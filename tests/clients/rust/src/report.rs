//! What all scenarios share.

use std::fmt::Debug;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, process};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome = Result<(), Error>;

pub const PATIENCE: Duration = Duration::from_secs(15);

/// A line for each scenario, `ok` or `not ok`, which run.sh counts.
pub struct Report {
    client: &'static str,
    failed: bool,
}

impl Report {
    pub fn new(client: &'static str) -> Self {
        Self { client, failed: false }
    }

    pub fn add(&mut self, name: &str, checks: &str, outcome: Outcome) {
        let verdict = match outcome {
            Ok(()) => "ok",
            Err(error) => {
                println!("{error:?}");
                self.failed = true;
                "not ok"
            }
        };
        println!("{verdict} - {} {name}: {checks}", self.client);
    }

    /// A defect of the SDK, whatever is behind it: named, not counted.
    pub fn known(&self, name: &str, why: &str) {
        println!("known - {} {name}: {why}", self.client);
    }

    pub fn end(self) -> ! {
        process::exit(i32::from(self.failed))
    }
}

pub fn same<T: Debug + PartialEq>(got: T, wanted: T) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("{got:?} is not {wanted:?}").into()) }
}

pub fn ensure(is: bool, what: &str) -> Outcome {
    if is { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// The call fails, and says so with this part. The SDK's error shows its status only in its debug form.
pub fn fails<T: Debug>(outcome: Result<T, dapr::error::Error>, part: &str) -> Outcome {
    match outcome {
        Ok(answer) => Err(format!("did not fail: {answer:?}").into()),
        Err(error) => ensure(format!("{error:?}").contains(part), &format!("{part:?} is in {error:?}")),
    }
}

/// Waits until this is true: for what a client cannot be told of.
pub async fn eventually(mut check: impl AsyncFnMut() -> bool) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !check().await {
        ensure(Instant::now() < end, "it came true in time")?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Changes an item of the configuration store from outside: in the file that it follows, or in Redis.
pub fn set_item(key: &str, value: &str) -> Outcome {
    if let Ok(port) = env::var("REDIS_PORT") {
        let version = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let item = format!("{value}||{version}");
        let status = Command::new("redis-cli").args(["-p", &port, "SET", key, &item]).output()?.status;
        return ensure(status.success(), "redis-cli");
    }
    let path = env::var("CONFIGURATION_FILE")?;
    let mut items: Map<String, Value> = serde_json::from_slice(&fs::read(&path)?)?;
    items.insert(key.to_owned(), value.into());
    fs::write(format!("{path}.new"), serde_json::to_vec(&items)?)?;
    fs::rename(format!("{path}.new"), path)?;
    Ok(())
}
