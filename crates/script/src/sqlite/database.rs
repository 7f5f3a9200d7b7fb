//! The database of one derivation: migrated, held to what a lambda may do, and committed with its task's checkpoint.
//!
//! One transaction of SQLite spans one of the task. In tests the database is in memory. In a running task it is a scratch
//! file whose pages are kept by the log ([`Scratch`]); whatever a former process left of the file is thrown away.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use catalog::Text;
use runtime::{Changes, Kept, LambdaError};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::scratch::Scratch;
use crate::lambdas::error;

/// Time for one migration of a database that is kept.
const MIGRATION_TIME: Duration = Duration::from_secs(60);
/// Time for one migration of a database in memory, which holds nothing yet.
const MIGRATION_TIME_IN_MEMORY: Duration = Duration::from_millis(1500);
/// The longest text, blob or row.
const VALUE_BYTES_MAX: i32 = 64 << 20;
/// Steps of SQLite's machine between looks at the time.
const STEPS_PER_LOOK: i32 = 10_000;
/// Pragmas that change nothing of what holds the database. Full-text search asks for the first.
const PRAGMAS: [&str; 6] =
    ["data_version", "foreign_keys", "case_sensitive_like", "recursive_triggers", "table_info", "table_xinfo"];

/// An open database.
pub(super) struct Database {
    pub(super) connection: Connection,
    guard: Arc<Guard>,
    /// Whether a transaction is open.
    open: bool,
    /// `None` in memory.
    scratch: Option<Scratch>,
}

/// Why migrations could not be applied.
pub(super) struct Unapplied {
    pub(super) error: LambdaError,
    /// Which of them SQLite refused, and how.
    pub(super) by_sqlite: Option<(usize, rusqlite::Error)>,
}

impl From<LambdaError> for Unapplied {
    fn from(error: LambdaError) -> Self {
        Unapplied { error, by_sqlite: None }
    }
}

/// What SQLite asks while it runs.
struct Guard {
    /// Whether it is us who run a statement, and not an author.
    ours: AtomicBool,
    until: Mutex<Instant>,
}

impl Database {
    /// Opens the database as it was committed last, in a file at `path` or in memory, and applies the migrations it has not
    /// seen.
    pub(super) fn open(path: Option<&Path>, kept: &Kept<'_>, migrations: &[Text]) -> Result<Database, LambdaError> {
        let mut database = Self::bare(path, kept)?;
        database.migrate(migrations).map_err(|unapplied| unapplied.error)?;
        Ok(database)
    }

    /// Opens it without looking at migrations.
    pub(super) fn bare(path: Option<&Path>, kept: &Kept<'_>) -> Result<Database, LambdaError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let scratch = path.map(|path| Scratch::restore(path, kept)).transpose()?;
        let opened = match path {
            Some(path) => Connection::open_with_flags(path, flags),
            None => Connection::open_in_memory(),
        };
        let connection = opened.map_err(|e| failed("the database cannot be opened", &e))?;
        let guard = Arc::new(Guard { ours: AtomicBool::new(true), until: Mutex::new(Instant::now() + MIGRATION_TIME) });
        let mut database = Database { connection, guard, open: false, scratch };
        database.prepare().map_err(|e| failed("the database cannot be opened", &e))?;
        Ok(database)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384")?;
        if self.scratch.is_some() {
            connection.execute_batch(Scratch::PRAGMAS)?;
        }
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        let guard = Arc::clone(&self.guard);
        connection.authorizer(Some(move |asked: AuthContext<'_>| guard.allows(&asked.action)))?;
        let guard = Arc::clone(&self.guard);
        connection.progress_handler(STEPS_PER_LOOK, Some(move || guard.is_late()))?;
        self.guard.ours.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Applies the migrations it has not seen.
    pub(super) fn migrate(&mut self, migrations: &[Text]) -> Result<(), Unapplied> {
        let time = if self.scratch.is_some() { MIGRATION_TIME } else { MIGRATION_TIME_IN_MEMORY };
        self.begin(time)?;
        let of_ours = |e| failed("applied migrations cannot be read", &e);
        let make = "CREATE TABLE IF NOT EXISTS segtide_migrations (number INTEGER PRIMARY KEY, text TEXT NOT NULL)";
        self.connection.execute_batch(make).map_err(of_ours)?;
        let applied: Vec<String> = self
            .connection
            .prepare("SELECT text FROM segtide_migrations ORDER BY number")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .map_err(of_ours)?;
        if applied.len() > migrations.len() {
            let n = migrations.len() + 1;
            return Err(error(format!("migration {n} has been applied and is no longer there; put it back")).into());
        }
        for (n, migration) in migrations.iter().enumerate() {
            match applied.get(n) {
                Some(applied) if **applied == *migration.text => continue,
                Some(_) => {
                    let why = "has been applied and cannot change any more: put it back, and add another that changes the rest";
                    return Err(error(format!("migration {} {why}", n + 1)).into());
                }
                None => {}
            }
            self.allow(time);
            self.connection.execute_batch(&migration.text).map_err(|e| {
                let error = failed(&format!("migration {}", n + 1), &e);
                Unapplied { error, by_sqlite: Some((n, e)) }
            })?;
            let insert = "INSERT INTO segtide_migrations (number, text) VALUES (?1, ?2)";
            self.connection.execute(insert, (n as i64, &*migration.text)).map_err(of_ours)?;
        }
        Ok(())
    }

    /// Sees to it that a transaction is open, and gives what runs now so much time.
    pub(super) fn begin(&mut self, time: Duration) -> Result<(), LambdaError> {
        self.allow(time);
        if !self.open {
            self.run("BEGIN IMMEDIATE").map_err(|e| failed("no transaction can begin", &e))?;
            self.open = true;
        }
        Ok(())
    }

    /// Gives what runs now so much time.
    fn allow(&self, time: Duration) {
        *self.guard.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    /// Ends the transaction; what it changed, for the log to commit.
    pub(super) fn changes(&mut self) -> Result<Changes, LambdaError> {
        self.allow(MIGRATION_TIME);
        if std::mem::take(&mut self.open) {
            self.run("COMMIT").map_err(|e| failed("the transaction cannot be committed", &e))?;
        }
        let Some(scratch) = &mut self.scratch else { return Ok(Changes::new()) };
        self.guard.ours.store(true, Ordering::Relaxed);
        let changes = scratch.changes(&self.connection);
        self.guard.ours.store(false, Ordering::Relaxed);
        changes.map_err(|e| error(format!("changes of the database cannot be read: {e}")))
    }

    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.guard.ours.store(true, Ordering::Relaxed);
        let done = self.connection.execute_batch(sql);
        self.guard.ours.store(false, Ordering::Relaxed);
        done
    }
}

impl Guard {
    /// An author may not end our transaction, reach other files, or change how the database is kept.
    fn allows(&self, action: &AuthAction<'_>) -> Authorization {
        let foreign = match action {
            AuthAction::Transaction { .. }
            | AuthAction::Savepoint { .. }
            | AuthAction::Attach { .. }
            | AuthAction::Detach { .. } => true,
            AuthAction::Pragma { pragma_name, .. } => !PRAGMAS.contains(pragma_name),
            _ => false,
        };
        match foreign && !self.ours.load(Ordering::Relaxed) {
            true => Authorization::Deny,
            false => Authorization::Allow,
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() > *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What SQLite says, in a sentence about `what`.
pub(super) fn failed(what: &str, e: &rusqlite::Error) -> LambdaError {
    error(format!("{what}: {}", reason(e)))
}

/// What SQLite says.
pub(super) fn reason(e: &rusqlite::Error) -> String {
    let why = match e {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        e if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => "it ran longer than it may".to_owned(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        e => e.to_string(),
    };
    match &*why {
        "not authorized" => "ATTACH, most PRAGMAs, and transactions of its own are not for a derivation".to_owned(),
        _ => why,
    }
}
