//! `materialize-sqlite`: tables in an SQLite file.
//!
//! Every commit is synced (`WAL`, `synchronous=FULL`), and writing begins with the write lock (`BEGIN IMMEDIATE`), so that a
//! busy database is waited for where waiting helps. Tables keep SQLite's row numbers: without them (`WITHOUT ROWID`) documents
//! lie in the key's own tree, and stores in random order cost three times as much, for loads that are no cheaper.

use std::path::PathBuf;
use std::time::Duration;

use catalog::{BindingRules, Collection, ConfigError, Endpoint, Materialization};
use doc::Node;
use runtime::{ConnectorError, Fault, KeyRange, Report, Retry, Row, defect, durable_point};
use rusqlite::{Connection, ErrorCode, Statement};
use serde_json::Value;

use crate::config::{Fields, both};
use crate::error;
use crate::path::local_path;
use crate::sql::{self, Applied, Column, Dialect, Existing, Fence, Held, Kind, Session, Table, names, quote};

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &["path"];
/// The fields of a resource.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["table", "delta_updates"];

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENTS_MAX: usize = 512;
/// The write-ahead log goes into the tables once it has so many pages, 64 MiB: a page that several transactions change is
/// then written there once.
const CHECKPOINT_PAGES: u32 = 16 << 10;
const DIALECT: Dialect = Dialect::Sqlite;

/// Where the database is.
enum Place {
    Memory,
    File(PathBuf),
}

fn read_config(endpoint: &Endpoint) -> Result<Place, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
    let path: Option<String> =
        fields.required("path", "the database file, relative to this catalog file, or `:memory:`");
    let place = path.and_then(|path| {
        // Drivers of other languages take options behind a question mark; ours are fixed.
        let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
        if path == ":memory:" {
            return Some(Place::Memory);
        }
        match local_path(&endpoint.base, path) {
            Ok(path) => Some(Place::File(path)),
            Err(reason) => {
                fields.wrong("path", reason, None);
                None
            }
        }
    });
    let errors = fields.finish();
    place.filter(|_| errors.is_empty()).ok_or(errors)
}

struct Resource {
    table: String,
    delta: bool,
}

fn read_resource(n: usize, resource: &Value) -> Result<Resource, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
    let table: Option<String> = fields.required("table", "the table to keep the documents in");
    let delta = fields.optional("delta_updates").unwrap_or(false);
    if let Some(mistake) = table.as_ref().and_then(|table| sql::name_mistake(DIALECT, table)) {
        fields.wrong("table", mistake, None);
    }
    let lower = table.as_ref().map(|table| table.to_ascii_lowercase()).unwrap_or_default();
    if sql::RESERVED.contains(&lower.as_str()) || lower.starts_with("sqlite_") {
        fields.wrong("table", "this name is reserved", Some("choose another"));
    }
    let errors = fields.finish();
    table.filter(|_| errors.is_empty()).map(|table| Resource { table, delta }).ok_or(errors)
}

/// Checks the configuration alone.
pub(crate) fn check_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    read_config(endpoint).map(drop)
}

/// Whether several connections see the same tables: a database in memory is of one connection alone.
pub(crate) fn can_divide(endpoint: &Endpoint) -> bool {
    matches!(read_config(endpoint), Ok(Place::File(_)))
}

/// Checks the configuration and one binding's resource.
pub(crate) fn check(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    let (_, resource) = both(read_config(endpoint), read_resource(0, resource))?;
    let constraints = sql::constraints(collection);
    // SQLite does not tell names apart by the case of ASCII letters.
    Ok(BindingRules { path: vec![resource.table.to_ascii_lowercase()], delta_updates: resource.delta, constraints })
}

/// A database with the tables of one materialization.
pub(crate) struct Sqlite {
    connection: Connection,
    task: String,
    bindings: Vec<Binding>,
    fence: Fence,
    scratch: Vec<u8>,
    report: Report,
}

struct Binding {
    table: Table,
    load: String,
    store: String,
    delete: String,
}

impl Binding {
    fn new(table: Table) -> Self {
        let (name, columns) = (table.quoted(), names(&table.columns));
        let document = table.columns.last().map(|column| quote(&column.name)).unwrap_or_default();
        let keys = table.key_columns().iter().enumerate();
        let matches = keys.map(|(n, column)| format!("{} = ?{}", quote(&column.name), n + 1)).collect::<Vec<_>>();
        let matches = matches.join(" AND ");
        let values = (1..=table.columns.len()).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
        Self {
            load: format!("SELECT {document} FROM {name} WHERE {matches}"),
            store: format!("INSERT INTO {name} AS t ({columns}) VALUES ({values}){}", table.on_conflict()),
            delete: format!("DELETE FROM {name} WHERE {matches}"),
            table,
        }
    }
}

impl Sqlite {
    /// Opens the database, makes or checks its tables, and takes the fence of a range of keys. So many bytes of pages stay in
    /// memory; a transaction that changes more of them writes some before its end, and reads them again.
    pub(crate) fn open(
        task: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
        held: &Held,
        cache_bytes: usize,
    ) -> Result<Self, ConnectorError> {
        let place = read_config(&task.endpoint).map_err(error::config)?;
        let mut tables = Vec::new();
        for (n, (binding, collection)) in task.bindings.iter().zip(collections).enumerate() {
            let resource = read_resource(n, &binding.resource).map_err(error::config)?;
            tables.push(Table::new(DIALECT, vec![resource.table], binding, collection)?);
        }
        let connection = match &place {
            Place::Memory => Connection::open_in_memory(),
            Place::File(path) => Connection::open(path),
        };
        let mut connection = connection.map_err(failure)?;
        prepare(&connection, cache_bytes).map_err(failure)?;

        connection.execute_batch("BEGIN IMMEDIATE").map_err(failure)?;
        let Applied { fence, notes } = sql::apply(&mut connection, DIALECT, &task.name, &tables, range, held)?;
        durable_point("lite.applied");
        connection.execute_batch("COMMIT").map_err(failure)?;
        durable_point("lite.opened");
        let bindings = tables.into_iter().map(Binding::new).collect();
        let report = Report { set_aside: 0, notes };
        Ok(Self { connection, task: task.name.clone(), bindings, fence, scratch: Vec::new(), report })
    }

    fn begin(&self) -> Result<(), ConnectorError> {
        if self.connection.is_autocommit() {
            self.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut sql| sql.execute([])).map_err(failure)?;
        }
        Ok(())
    }
}

fn prepare(connection: &Connection, cache_bytes: usize) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") && !mode.eq_ignore_ascii_case("memory") {
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    connection.pragma_update(None, "cache_size", -((cache_bytes >> 10) as i64))?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "synchronous", "FULL")
}

impl runtime::Table for Sqlite {
    fn checkpoint(&self) -> Option<&str> {
        self.fence.checkpoint.as_deref()
    }

    fn load(
        &mut self,
        binding: usize,
        keys: &[&[Node<'_>]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), ConnectorError> {
        // Within a transaction, as each statement of its own would take and give back a lock of the file. Rows are stored next
        // anyway, and nobody else can change what was loaded.
        self.begin()?;
        let Binding { table, load, .. } = &self.bindings[binding];
        let mut statement = self.connection.prepare_cached(load).map_err(failure)?;
        // A key that no row can have is not there.
        for (n, key) in keys.iter().enumerate().filter(|(_, key)| sql::key_fits(DIALECT, table, key)) {
            bind_all(&mut statement, &table.columns, key, &[], 0, &mut self.scratch).map_err(failure)?;
            let mut rows = statement.raw_query();
            if let Some(row) = rows.next().map_err(failure)? {
                found(n, row.get_ref(0).and_then(|document| Ok(document.as_bytes()?)).map_err(failure)?);
            }
        }
        Ok(())
    }

    fn store(&mut self, binding: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError> {
        durable_point("lite.loaded");
        self.begin()?;
        let Binding { table, store, delete, .. } = &self.bindings[binding];
        let mut stores = self.connection.prepare_cached(store).map_err(failure)?;
        let mut aside = Vec::new();
        for row in rows {
            let deletes = row.delete && !table.delta;
            let stored = match sql::fits(DIALECT, table, row) {
                // A document that never was in the table need not be deleted.
                Err(_) if deletes => continue,
                Err(reason) => Err(reason),
                Ok(()) if deletes => {
                    let mut deletes = self.connection.prepare_cached(delete).map_err(failure)?;
                    bind_all(&mut deletes, &table.columns, row.key, &[], 0, &mut self.scratch)
                        .and_then(|()| deletes.raw_execute())
                        .map_err(failure)?;
                    Ok(())
                }
                // What fails undoes itself, and leaves the transaction as it was.
                Ok(()) => match store_row(&mut stores, table, row, &mut self.scratch) {
                    Err(error) if is_of_the_row(&error) => Err(failure(error).message),
                    stored => stored.map_err(failure).map(Ok)?,
                },
            };
            match stored {
                Ok(()) => durable_point("lite.row_stored"),
                Err(reason) => aside.push((row, reason)),
            }
        }
        drop(stores);
        for (row, reason) in aside {
            sql::set_aside(&mut self.connection, &self.task, &self.bindings[binding].table, row, &reason)?;
            self.report.set_aside += 1;
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &str) -> Result<(), ConnectorError> {
        self.begin()?;
        let mut update = self.connection.prepare_cached(&self.fence.commit).map_err(failure)?;
        let touched = update.execute([checkpoint, &self.task]).map_err(failure)?;
        drop(update);
        durable_point("lite.fence_row");
        if touched != 1 && !defect("skip-fence") {
            self.connection.execute_batch("ROLLBACK").map_err(failure)?;
            return Err(error::fenced(&self.task));
        }
        self.connection.execute_batch("COMMIT").map_err(failure)?;
        durable_point("lite.committed");
        self.fence.checkpoint = Some(checkpoint.to_owned());
        if self.report.set_aside > 0 {
            self.report.notes.push(sql::dead_letters_note());
        }
        Ok(())
    }

    fn report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }
}

fn store_row(stores: &mut Statement<'_>, table: &Table, row: &Row<'_>, scratch: &mut Vec<u8>) -> rusqlite::Result<()> {
    bind_all(stores, &table.columns, row.key, &[], 0, scratch)?;
    bind_all(stores, &table.columns, row.values, row.texts, table.keys, scratch)?;
    if table.document {
        stores.raw_bind_parameter(table.columns.len(), row.document)?;
    }
    stores.raw_execute().map(drop)
}

/// Binds values that fit, of which some have a known text, to the columns from `first` on.
fn bind_all(
    statement: &mut Statement<'_>,
    columns: &[Column],
    values: &[Node<'_>],
    texts: &[Option<&str>],
    first: usize,
    scratch: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    for (n, (value, column)) in values.iter().zip(&columns[first..]).enumerate() {
        let (at, value) = (first + n + 1, *value);
        match column.kind {
            Kind::Integer => statement.raw_bind_parameter(at, sql::integer(value).ok().flatten())?,
            Kind::Number => statement.raw_bind_parameter(at, sql::number(value).ok().flatten())?,
            Kind::Boolean => statement.raw_bind_parameter(at, sql::boolean(value).ok().flatten())?,
            Kind::Text | Kind::Formatted(_) => statement.raw_bind_parameter(at, sql::text(value).ok().flatten())?,
            Kind::Json if value.is_null() => statement.raw_bind_parameter(at, rusqlite::types::Null)?,
            Kind::Json if let Some(text) = texts.get(n).copied().flatten() => statement.raw_bind_parameter(at, text)?,
            Kind::Json => {
                scratch.clear();
                doc::write(value, scratch);
                statement.raw_bind_parameter(at, str::from_utf8(scratch).expect("JSON is text"))?;
            }
        }
    }
    Ok(())
}

impl Session for Connection {
    fn run(&mut self, sql: &str) -> Result<(), ConnectorError> {
        self.execute_batch(sql).map_err(failure)
    }

    fn rows(&mut self, sql: &str, args: &[&str]) -> Result<Vec<Vec<Option<String>>>, ConnectorError> {
        let mut statement = self.prepare(sql).map_err(failure)?;
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|n| row.get(n)).collect();
        let rows = statement.query_map(rusqlite::params_from_iter(args), row).and_then(Iterator::collect);
        rows.map_err(failure)
    }

    fn columns(&mut self, path: &[String]) -> Result<Option<Vec<Existing>>, ConnectorError> {
        let sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1)";
        let mut statement = self.prepare(sql).map_err(failure)?;
        let found = statement.query_map([&path[path.len() - 1]], |row| {
            let key: i64 = row.get(3)?;
            Ok(Existing { name: row.get(0)?, kind: row.get(1)?, required: row.get(2)?, key: (key > 0).then_some(key) })
        });
        let found: Vec<Existing> = found.and_then(Iterator::collect).map_err(failure)?;
        Ok((!found.is_empty()).then_some(found))
    }
}

/// Whether an error says that a row can never be stored: of its values, or the table's constraints.
fn is_of_the_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn failure(error: rusqlite::Error) -> ConnectorError {
    let (fault, retry) = match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly,
        ) => (Fault::User, Retry::Later),
        Some(
            ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::DatabaseCorrupt | ErrorCode::TypeMismatch,
        ) => (Fault::User, Retry::Never),
        _ => (Fault::Endpoint, Retry::Later),
    };
    ConnectorError { message: format!("SQLite: {error}"), fault, retry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn states_are_classed() {
        for (code, of_the_row, fault, retry) in [
            (ffi::SQLITE_BUSY, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_BUSY_SNAPSHOT, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_LOCKED, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_FULL, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_IOERR_FSYNC, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_NOMEM, false, Fault::Endpoint, Retry::Later),
            (ffi::SQLITE_READONLY, false, Fault::User, Retry::Later),
            (ffi::SQLITE_CANTOPEN, false, Fault::User, Retry::Later),
            (ffi::SQLITE_PERM, false, Fault::User, Retry::Later),
            (ffi::SQLITE_NOTADB, false, Fault::User, Retry::Later),
            (ffi::SQLITE_CORRUPT, false, Fault::User, Retry::Never),
            (ffi::SQLITE_CONSTRAINT_CHECK, true, Fault::User, Retry::Never),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, true, Fault::User, Retry::Never),
            (ffi::SQLITE_TOOBIG, true, Fault::User, Retry::Never),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(is_of_the_row(&error), of_the_row, "{error}");
            let error = failure(error);
            assert_eq!((error.fault, error.retry), (fault, retry), "{error}");
        }
    }
}
