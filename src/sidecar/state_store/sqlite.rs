//! State in one SQLite file. The table is that of daprd's `state.sqlite`, so that either can open the file of the other
//! (`dapr/components-contrib:state/sqlite`); what is accepted and refused is as in memory.
//!
//! The file is worked on by blocking threads, never by those of the runtime: a write waits for the disk, and for other
//! processes up to the busy timeout. There is one connection, behind a lock whose waiters are suspended, so a store takes
//! one blocking thread at most, however many callers wait.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{Change, Entry, StoreError, Write};
use crate::sidecar::clock::{after, rfc3339};
use crate::sidecar::duration;
use crate::sidecar::truth::is_truthy;

/// As SQLite writes UTC, with fractions: in the order of time, and readable by daprd.
const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.3f";
/// The same, with or without fractions.
const ANY_TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";

/// How often a write also removes what expired.
const SWEEP: TimeDelta = TimeDelta::seconds(1);

/// Metadata of `state.sqlite` that means nothing here: calls are not cut, and what expired goes with the next write.
const IGNORED: [&str; 6] = [
    "actorStateStore",
    "cleanupInterval",
    "cleanupIntervalInSeconds",
    "metadataTableName",
    "timeout",
    "timeoutInSeconds",
];

/// Where the state is, and how it is reached.
#[derive(Debug)]
pub(in crate::sidecar) struct Settings {
    path: PathBuf,
    table: String,
    busy_timeout: Duration,
    has_wal: bool,
}

pub(in crate::sidecar) struct Sqlite {
    path: PathBuf,
    table: String,
    open: Arc<Mutex<Open>>,
}

struct Open {
    connection: Connection,
    sweep_at: DateTime<Utc>,
}

// ===== impl Settings =====

impl Settings {
    pub(in crate::sidecar) fn new(path: &Path) -> Self {
        Self { path: path.into(), table: "state".to_owned(), busy_timeout: Duration::from_secs(2), has_wal: true }
    }

    /// The metadata of a component. Its names are read in any case, as daprd does.
    ///
    /// # Errors
    /// When a value cannot be used. If `strict`, also when there is one that is not known.
    pub(in crate::sidecar) fn of_metadata(metadata: &BTreeMap<String, String>, strict: bool) -> Result<Self, String> {
        let mut settings = Self::new(Path::new(""));
        for (name, value) in metadata {
            match name.to_ascii_lowercase().as_str() {
                "connectionstring" | "url" => settings.path = path_of(value)?,
                "tablename" if is_identifier(value) => settings.table.clone_from(value),
                "tablename" => return Err(format!("tableName {value:?} is not letters, digits and '_'")),
                "busytimeout" => {
                    let span = duration::of_go(value);
                    settings.busy_timeout =
                        span.ok_or_else(|| format!("busyTimeout {value:?} is not a span of time"))?;
                }
                "disablewal" => settings.has_wal = !is_truthy(value),
                "keyprefix" if value.eq_ignore_ascii_case("appid") => {}
                _ if IGNORED.iter().any(|known| name.eq_ignore_ascii_case(known)) => {}
                _ if strict => return Err(format!("metadata {name:?} with the value {value:?} is not known here")),
                _ => tracing::warn!(name, "metadata of a state.sqlite component that is not known here is ignored"),
            }
        }
        if settings.path.as_os_str().is_empty() {
            return Err("missing connection string".to_owned());
        }
        Ok(settings)
    }
}

// ===== impl Sqlite =====

impl Sqlite {
    /// Opens the file, or makes it. Blocks, up to the busy timeout when another process holds it.
    ///
    /// # Errors
    /// When it is no database, cannot be written, is locked, or has another table of this name; it names the file.
    pub(in crate::sidecar) fn open(settings: Settings) -> Result<Self, String> {
        let Settings { path, table, busy_timeout, has_wal } = settings;
        let failed = |reason: &dyn fmt::Display| format!("{}: {reason}", path.display());
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if directory.is_some_and(|directory| !directory.is_dir()) {
            return Err(failed(&"its directory does not exist"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).and_then(|mut connection| {
            connection.busy_timeout(busy_timeout)?;
            prepare(&mut connection, &table, has_wal)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| failed(&error))?;
        // SQLite opens such a file too, and refuses each write.
        if connection.is_readonly(rusqlite::MAIN_DB).map_err(|error| failed(&error))? {
            return Err(failed(&"it is read-only"));
        }
        let open = Open { connection, sweep_at: DateTime::UNIX_EPOCH };
        Ok(Self { table, open: Arc::new(Mutex::new(open)), path })
    }

    pub(super) async fn get(&self, key: String, now: DateTime<Utc>) -> Result<Option<Entry>, StoreError> {
        let sql = format!(
            "SELECT value, is_binary, etag, expiration_time FROM {} \
             WHERE key = ?1 AND (expiration_time IS NULL OR expiration_time >= ?2)",
            self.table
        );
        self.run(move |open| {
            let mut statement = open.connection.prepare(&sql)?;
            let row = statement.query_row(params![key, text_of(now)], |row| {
                Ok((row.get_ref(0)?.as_bytes()?.to_vec(), row.get(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?))
            });
            let Some((value, is_binary, etag, expires)) = row.optional()? else { return Ok(Ok(None)) };
            let value = if is_binary { STANDARD.decode(&value).unwrap_or(value) } else { value };
            let expires_at =
                expires.map(|text| NaiveDateTime::parse_from_str(&text, ANY_TIMESTAMP).map_or(text, in_seconds));
            Ok(Ok(Some(Entry { value, etag, expires_at })))
        })
        .await
    }

    /// One transaction, which takes the file at once: what was checked holds until it ends.
    pub(super) async fn write(&self, writes: Vec<Write>, now: DateTime<Utc>) -> Result<(), StoreError> {
        let table = self.table.clone();
        self.run(move |open| {
            let transaction = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in &writes {
                if let Err(mismatch) = write.check(etag(&transaction, &table, &write.key, now)?.as_deref()) {
                    return Ok(Err(mismatch));
                }
            }
            let is_due = now >= open.sweep_at;
            if is_due {
                transaction.execute(&format!("DELETE FROM {table} WHERE expiration_time < ?1"), [text_of(now)])?;
            }
            for write in writes {
                apply(&transaction, &table, write, now)?;
            }
            transaction.commit()?;
            if is_due {
                open.sweep_at = now.checked_add_signed(SWEEP).unwrap_or(now);
            }
            Ok(Ok(()))
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Open) -> rusqlite::Result<Result<T, StoreError>> + Send + 'static,
    {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        let failed = |reason: &dyn fmt::Display| StoreError::Failed(format!("{}: {reason}", self.path.display()));
        match tokio::task::spawn_blocking(move || work(&mut open)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).field("table", &self.table).finish_non_exhaustive()
    }
}

/// A write-ahead log makes a commit one append, which a killed process leaves whole or not at all; a power cut may take
/// the last ones, and never more.
fn prepare(connection: &mut Connection, table: &str, has_wal: bool) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let wanted = if has_wal { "wal" } else { "delete" };
    if mode != wanted {
        connection.pragma_update_and_check(None, "journal_mode", wanted, |row| row.get::<_, String>(0))?;
    }
    if has_wal {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (
            key TEXT NOT NULL PRIMARY KEY,
            value TEXT NOT NULL,
            is_binary BOOLEAN NOT NULL,
            etag TEXT NOT NULL,
            expiration_time TIMESTAMP DEFAULT NULL,
            update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        )"
    ))?;
    // Fails when the table is another one.
    transaction.prepare(&format!("SELECT key, value, is_binary, etag, expiration_time, update_time FROM {table}"))?;
    transaction.commit()
}

fn etag(at: &Transaction<'_>, table: &str, key: &str, now: DateTime<Utc>) -> rusqlite::Result<Option<String>> {
    let sql = format!("SELECT etag FROM {table} WHERE key = ?1 AND (expiration_time IS NULL OR expiration_time >= ?2)");
    at.prepare(&sql)?.query_row(params![key, text_of(now)], |row| row.get(0)).optional()
}

fn apply(at: &Transaction<'_>, table: &str, write: Write, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let Change::Set { value, ttl } = write.change else {
        at.execute(&format!("DELETE FROM {table} WHERE key = ?1"), [write.key])?;
        return Ok(());
    };
    // Text can be read in the file; SQLite's own functions end it at a zero.
    let (value, is_binary) = match String::from_utf8(value) {
        Ok(text) if !text.contains('\0') => (text, false),
        Ok(text) => (STANDARD.encode(text), true),
        Err(error) => (STANDARD.encode(error.as_bytes()), true),
    };
    let expires = ttl.map(|ttl| text_of(after(now, ttl)));
    let sql = format!(
        "INSERT OR REPLACE INTO {table} (key, value, is_binary, etag, expiration_time, update_time) \
         VALUES (?1, ?2, ?3, ?4, ?5, CURRENT_TIMESTAMP)"
    );
    at.execute(&sql, params![write.key, value, is_binary, Uuid::new_v4().to_string(), expires])?;
    Ok(())
}

/// Years of more than four digits would break the order of the texts.
fn text_of(moment: DateTime<Utc>) -> String {
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).and_then(|day| day.and_hms_opt(23, 59, 59));
    let last = last.expect("the last second of 9999 is a moment");
    moment.naive_utc().min(last).format(TIMESTAMP).to_string()
}

fn in_seconds(moment: NaiveDateTime) -> String {
    rfc3339(moment.and_utc())
}

/// A path, or a `file:` URI of one. Options would be for another driver than ours.
fn path_of(connection: &str) -> Result<PathBuf, String> {
    let path = connection.strip_prefix("file:").unwrap_or(connection);
    if path.starts_with(":memory:") {
        return Err("a database in memory does not outlive its process: use state.in-memory".to_owned());
    }
    if path.contains('?') {
        return Err(format!("connection string {connection:?} has options, which are not read here"));
    }
    let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
    Ok(path.into())
}

fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(allowed) && text.starts_with(|char: char| !char.is_ascii_digit())
}
