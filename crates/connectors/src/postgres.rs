//! `materialize-postgres`: tables in PostgreSQL.
//!
//! Loads and stores bind whole columns as arrays, one statement for thousands of rows: `unnest` makes rows of them again. What
//! only the server knows it cannot store is found by halving what was stored at once, and set aside. The session's timeouts
//! see to it that an owner who was stopped in the middle of a transaction cannot hold its rows for ever.

mod array;
mod config;
mod tls;

use std::time::Duration;

use ::postgres::config::SslMode as Encrypted;
use ::postgres::error::SqlState;
use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::types::ToSql;
use ::postgres::{Client, Statement};
use catalog::{BindingRules, Collection, ConfigError, Endpoint, Materialization};
use doc::Node;
use runtime::{ConnectorError, Fault, KeyRange, Report, Retry, Row, defect, durable_point};
use serde_json::Value;

use crate::config::both;
use crate::error;
use crate::sql::{self, Applied, Column, Dialect, Existing, Fence, Held, Kind, Session, Table, names, quote};
use array::{Array, key_arrays};
pub(crate) use config::{CONFIG_FIELDS, RESOURCE_FIELDS};
use config::{Config, Resource, SCHEMA_DEFAULT, SslMode};

const DIALECT: Dialect = Dialect::Postgres;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const UNANSWERED_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// With the wait for a lock and the wait to try again, a successor goes on within a minute.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 30_000;
const LOCK_TIMEOUT_MS: u64 = 15_000;
const STATEMENT_TIMEOUT_MS: u64 = 300_000;
/// Rows of one statement.
const ROWS_MAX: usize = 10_000;
/// Bytes of documents of one statement, unless one document has more.
const BYTES_MAX: usize = 8 << 20;
/// What the server keeps of the name of a session, in bytes.
const SESSION_NAME_BYTES_MAX: usize = 63;

/// Checks the configuration alone.
pub(crate) fn check_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    Config::read(endpoint).map(drop)
}

/// Checks the configuration and one binding's resource.
pub(crate) fn check(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    let (config, resource) = both(Config::read(endpoint), Resource::read(0, resource))?;
    let constraints = sql::constraints(collection);
    // With its schema, so that one table under two names is seen.
    let mut path = resource.path;
    if path.len() == 1 {
        path.insert(0, config.schema.unwrap_or_else(|| SCHEMA_DEFAULT.to_owned()));
    }
    Ok(BindingRules { path, delta_updates: resource.delta, constraints })
}

/// A database with the tables of one materialization.
pub(crate) struct Postgres {
    client: Client,
    task: String,
    bindings: Vec<Binding>,
    fence: Fence,
    commit: Statement,
    open: bool,
    report: Report,
}

struct Binding {
    table: Table,
    load: Option<Statement>,
    store: Statement,
    delete: Option<Statement>,
}

impl Binding {
    fn new(client: &mut Client, table: Table) -> Result<Self, ConnectorError> {
        let (name, columns) = (table.quoted(), names(&table.columns));
        let (values, all) = unnest(&table.columns);
        let store = format!("INSERT INTO {name} AS t ({columns}) SELECT {values} FROM {all}{}", table.on_conflict());
        let store = client.prepare(&store).map_err(failure)?;
        let (mut load, mut delete) = (None, None);
        if !table.delta {
            let document = table.columns.last().map(|column| quote(&column.name)).unwrap_or_default();
            let (_, keys) = unnest(table.key_columns());
            let matches = table.key_columns().iter().enumerate();
            let matches = matches.map(|(n, column)| format!("t.{} = k.c{n}", quote(&column.name))).collect::<Vec<_>>();
            let matches = matches.join(" AND ");
            let sql = format!("SELECT k.n, CAST(t.{document} AS TEXT) FROM {keys} JOIN {name} AS t ON {matches}");
            load = Some(client.prepare(&sql).map_err(failure)?);
            let sql = format!("DELETE FROM {name} AS t USING {keys} WHERE {matches}");
            delete = Some(client.prepare(&sql).map_err(failure)?);
        }
        Ok(Self { table, load, store, delete })
    }
}

/// The columns' values, and the rows `k` they come from: one array per column, and the number `n` of the row.
fn unnest(columns: &[Column]) -> (String, String) {
    let element = |kind| match kind {
        Kind::Integer => "bigint",
        Kind::Number => "double precision",
        Kind::Boolean => "boolean",
        Kind::Text | Kind::Formatted(_) | Kind::Json => "text",
    };
    let value = |(n, column): (usize, &Column)| match column.kind {
        Kind::Json => format!("CAST(k.c{n} AS json)"),
        Kind::Formatted(kind) => format!("CAST(k.c{n} AS {kind})"),
        _ => format!("k.c{n}"),
    };
    let values = columns.iter().enumerate().map(value).collect::<Vec<_>>().join(", ");
    let arrays =
        columns.iter().enumerate().map(|(n, column)| format!("CAST(${} AS {}[])", n + 1, element(column.kind)));
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let names = (0..columns.len()).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    (values, format!("unnest({arrays}) WITH ORDINALITY AS k({names}, n)"))
}

impl Postgres {
    /// Connects, makes or checks the tables, and takes the fence of a range of keys.
    pub(crate) fn open(
        task: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
        held: &Held,
    ) -> Result<Self, ConnectorError> {
        let config = Config::read(&task.endpoint).map_err(error::config)?;
        let mut tables = Vec::new();
        for (n, (binding, collection)) in task.bindings.iter().zip(collections).enumerate() {
            let resource = Resource::read(n, &binding.resource).map_err(error::config)?;
            tables.push(Table::new(DIALECT, resource.path, binding, collection)?);
        }
        let mut client = connect(&config)?;

        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").map_err(failure)?;
        // Making a table that is being made at the same time fails, even with IF NOT EXISTS.
        client.batch_execute("SELECT pg_advisory_xact_lock(hashtext('segtide'))").map_err(failure)?;
        for table in &mut tables {
            if let Some(existing) = client.columns(&table.path)? {
                table.stay_with(&existing);
            }
        }
        let Applied { fence, mut notes } = sql::apply(&mut client, DIALECT, &task.name, &tables, range, held)?;
        durable_point("pg.applied");
        client.batch_execute("COMMIT").map_err(failure)?;
        durable_point("pg.opened");

        client
            .execute("SELECT set_config('application_name', $1, false)", &[&session_name(&task.name, fence.number)])
            .map_err(failure)?;
        let fsync: String = client.query_one("SHOW fsync", &[]).and_then(|row| row.try_get(0)).map_err(failure)?;
        if fsync == "off" {
            notes.push(
                "the PostgreSQL server has `fsync` off: a crash of it may lose or damage what was committed".to_owned(),
            );
        }
        notes.extend(config.warning());
        let bindings = tables.into_iter().map(|table| Binding::new(&mut client, table)).collect::<Result<_, _>>()?;
        let commit = client.prepare(&fence.commit).map_err(failure)?;
        let report = Report { set_aside: 0, notes };
        Ok(Self { client, task: task.name.clone(), bindings, fence, commit, open: false, report })
    }

    /// Begins a transaction if none is open; what is stored next can be undone alone.
    fn begin(&mut self) -> Result<(), ConnectorError> {
        let sql = match self.open {
            false => "BEGIN ISOLATION LEVEL READ COMMITTED; SAVEPOINT rows",
            true => "RELEASE rows; SAVEPOINT rows",
        };
        self.client.batch_execute(sql).map_err(failure)?;
        self.open = true;
        Ok(())
    }

    /// Stores rows whose columns can hold them. Rows that the server can never take are found by halves, and set aside.
    fn store_rows(&mut self, binding: usize, rows: &[&Row<'_>]) -> Result<(), ConnectorError> {
        self.begin()?;
        match self.execute_store(binding, rows) {
            Ok(()) => durable_point("pg.rows_stored"),
            Err(error) if !error.code().is_some_and(is_of_the_row) => return Err(failure(error)),
            Err(error) => {
                self.client.batch_execute("ROLLBACK TO rows").map_err(failure)?;
                match rows {
                    [row] => self.set_aside(binding, row, &failure(error).message)?,
                    _ => {
                        let (left, right) = rows.split_at(rows.len() / 2);
                        self.store_rows(binding, left)?;
                        self.store_rows(binding, right)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn execute_store(&mut self, binding: usize, rows: &[&Row<'_>]) -> Result<(), ::postgres::Error> {
        let Binding { table, store, delete, .. } = &self.bindings[binding];
        let deleted = |row: &&&Row<'_>| row.delete && delete.is_some();
        if let Some(delete) = delete
            && rows.iter().any(|row| deleted(&row))
        {
            let arrays = key_arrays(table, rows.iter().filter(deleted).map(|row| row.key));
            let arrays: Vec<_> = arrays.iter().map(Array::bind).collect();
            self.client.execute(delete, &arrays)?;
        }
        let stored = || rows.iter().filter(|row| !deleted(row));
        let mut arrays = key_arrays(table, stored().map(|row| row.key));
        let values = table.columns[table.keys..].len() - usize::from(table.document);
        for (n, column) in table.columns[table.keys..][..values].iter().enumerate() {
            arrays.push(match column.kind {
                Kind::Json => Array::json(stored().map(|row| (row.values[n], row.texts.get(n).copied().flatten()))),
                _ => Array::new(column, stored().map(|row| row.values[n])),
            });
        }
        if table.document {
            arrays.push(Array::Texts(stored().map(|row| Some(row.document)).collect()));
        }
        let arrays: Vec<_> = arrays.iter().map(Array::bind).collect();
        self.client.execute(store, &arrays)?;
        Ok(())
    }

    fn set_aside(&mut self, binding: usize, row: &Row<'_>, reason: &str) -> Result<(), ConnectorError> {
        self.begin()?;
        sql::set_aside(&mut self.client, &self.task, &self.bindings[binding].table, row, reason)?;
        self.report.set_aside += 1;
        Ok(())
    }
}

fn connect(config: &Config) -> Result<Client, ConnectorError> {
    let mut to = ::postgres::Config::new();
    to.host(&config.host).port(config.port).user(&config.user).password(&config.password);
    if let Some(database) = &config.database {
        to.dbname(database);
    }
    to.application_name("segtide");
    to.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(UNANSWERED_TIMEOUT);
    to.keepalives(true).keepalives_idle(KEEPALIVE_IDLE);
    to.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_RETRIES);
    to.ssl_mode(match config.ssl {
        SslMode::Disable => Encrypted::Disable,
        SslMode::Prefer => Encrypted::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Encrypted::Require,
    });
    let mut client = to.connect(tls::connector(config)?).map_err(|error| {
        let mut error = failure(error);
        if config.ssl >= SslMode::VerifyCa {
            let mode = config.ssl.name();
            error.message.push_str(&format!(
                " (`sslmode: {mode}`: the server must have a certificate of a known authority; `sslrootcert` names a file of \
                 further ones)"
            ));
        }
        error
    })?;
    let schema = quote(config.schema.as_deref().unwrap_or(SCHEMA_DEFAULT));
    client
        .batch_execute(&format!(
            "SET search_path TO {schema};
            SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS};
            SET lock_timeout = {LOCK_TIMEOUT_MS};
            SET statement_timeout = {STATEMENT_TIMEOUT_MS};
            SET synchronous_commit = on;
            SET standard_conforming_strings = on"
        ))
        .map_err(failure)?;
    Ok(client)
}

/// What a session is called, for people: `segtide/<task>/<fence>`.
fn session_name(task: &str, fence: i64) -> String {
    let task: String = task.chars().map(|char| if char.is_ascii_graphic() { char } else { '?' }).collect();
    let fence = format!("/{fence}");
    let mut name = format!("segtide/{task}");
    name.truncate(SESSION_NAME_BYTES_MAX - fence.len());
    name + &fence
}

impl runtime::Table for Postgres {
    fn checkpoint(&self) -> Option<&str> {
        self.fence.checkpoint.as_deref()
    }

    fn load(
        &mut self,
        binding: usize,
        keys: &[&[Node<'_>]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), ConnectorError> {
        let Binding { table, load, .. } = &self.bindings[binding];
        let Some(load) = load else { return Ok(()) };
        // A key that no row can have is not there.
        let keys: Vec<(usize, &[Node<'_>])> =
            keys.iter().copied().enumerate().filter(|(_, key)| sql::key_fits(DIALECT, table, key)).collect();
        for keys in keys.chunks(ROWS_MAX) {
            let arrays = key_arrays(table, keys.iter().map(|(_, key)| *key));
            let mut rows = self.client.query_raw(load, arrays.iter().map(Array::bind)).map_err(failure)?;
            while let Some(row) = rows.next().map_err(failure)? {
                let nth: i64 = row.try_get(0).map_err(failure)?;
                // The server counts from one.
                let at = usize::try_from(nth).ok().and_then(|nth| keys.get(nth.checked_sub(1)?));
                let (n, _) =
                    *at.ok_or_else(|| error::endpoint("the server answered for a key it was not asked for"))?;
                found(n, row.try_get::<_, &str>(1).map_err(failure)?.as_bytes());
            }
        }
        Ok(())
    }

    fn store(&mut self, binding: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError> {
        durable_point("pg.loaded");
        let mut fitting = Vec::with_capacity(rows.len().min(ROWS_MAX));
        let mut bytes = 0;
        for row in rows {
            let table = &self.bindings[binding].table;
            if let Err(reason) = sql::fits(DIALECT, table, row) {
                // A document that never was in the table need not be deleted.
                if !row.delete || table.delta {
                    self.set_aside(binding, row, &reason)?;
                }
                continue;
            }
            if fitting.len() == ROWS_MAX || bytes > 0 && bytes + row.document.len() > BYTES_MAX {
                self.store_rows(binding, &std::mem::take(&mut fitting))?;
                bytes = 0;
            }
            fitting.push(row);
            bytes += row.document.len().max(1);
        }
        if !fitting.is_empty() {
            self.store_rows(binding, &fitting)?;
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &str) -> Result<(), ConnectorError> {
        if !self.open {
            self.begin()?;
        }
        self.open = false;
        let touched = self.client.execute(&self.commit, &[&checkpoint, &self.task]).map_err(failure)?;
        durable_point("pg.fence_row");
        if touched != 1 && !defect("skip-fence") {
            self.client.batch_execute("ROLLBACK").map_err(failure)?;
            return Err(error::fenced(&self.task));
        }
        self.client.batch_execute("COMMIT").map_err(failure)?;
        durable_point("pg.committed");
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

impl Session for Client {
    fn run(&mut self, sql: &str) -> Result<(), ConnectorError> {
        self.batch_execute(sql).map_err(failure)
    }

    fn rows(&mut self, sql: &str, args: &[&str]) -> Result<Vec<Vec<Option<String>>>, ConnectorError> {
        let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(|arg| arg as &(dyn ToSql + Sync)).collect();
        let rows = self.query(sql, &args).map_err(failure)?;
        let texts = |row: &::postgres::Row| (0..row.len()).map(|n| row.try_get(n)).collect();
        rows.iter().map(texts).collect::<Result<_, _>>().map_err(failure)
    }

    fn columns(&mut self, path: &[String]) -> Result<Option<Vec<Existing>>, ConnectorError> {
        let name = path.iter().map(|part| quote(part)).collect::<Vec<_>>().join(".");
        let sql = "
            SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, k.place
            FROM pg_attribute a
            LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
            LEFT JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place) ON k.attnum = a.attnum
            WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum";
        let rows = self.query(sql, &[&name]).map_err(failure)?;
        let found = rows.iter().map(|row| {
            let (name, kind) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Existing { name, kind, required: row.try_get(2)?, key: row.try_get(3)? })
        });
        let found: Vec<Existing> = found.collect::<Result<_, ::postgres::Error>>().map_err(failure)?;
        Ok((!found.is_empty()).then_some(found))
    }
}

fn failure(error: ::postgres::Error) -> ConnectorError {
    let (fault, retry) = error.code().map_or((Fault::Endpoint, Retry::Later), class);
    let message = match error.as_db_error() {
        Some(error) => {
            let more = [error.detail(), error.hint()].into_iter().flatten().map(|more| format!(". {more}"));
            let (code, more) = (error.code().code(), more.collect::<String>());
            format!("PostgreSQL: {} ({code}){more}", error.message())
        }
        None => {
            use std::error::Error;
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("PostgreSQL: {error}{source}")
        }
    };
    ConnectorError { message, fault, retry }
}

/// Whether an SQLSTATE says that a row can never be stored: of its values, the table's constraints or the program's limits.
fn is_of_the_row(state: &SqlState) -> bool {
    matches!(&state.code()[..2], "22" | "23" | "54")
}

/// Whose fault an SQLSTATE is, and whether to try again.
fn class(state: &SqlState) -> (Fault, Retry) {
    match state.code() {
        // Read only: a standby that may become the primary. Locks and deadlocks pass.
        "25006" | "55P03" => (Fault::Endpoint, Retry::Later),
        code => match &code[..2] {
            // Somebody has to act: who may log in and what exists, values, constraints, limits of the program.
            "28" | "3D" | "3F" | "42" | "21" | "22" | "23" | "54" => (Fault::User, Retry::Never),
            _ => (Fault::Endpoint, Retry::Later),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_classed() {
        for (state, fault, retry) in [
            (SqlState::INVALID_PASSWORD, Fault::User, Retry::Never),
            (SqlState::UNDEFINED_TABLE, Fault::User, Retry::Never),
            (SqlState::NOT_NULL_VIOLATION, Fault::User, Retry::Never),
            (SqlState::UNTRANSLATABLE_CHARACTER, Fault::User, Retry::Never),
            (SqlState::PROGRAM_LIMIT_EXCEEDED, Fault::User, Retry::Never),
            (SqlState::T_R_SERIALIZATION_FAILURE, Fault::Endpoint, Retry::Later),
            (SqlState::T_R_DEADLOCK_DETECTED, Fault::Endpoint, Retry::Later),
            (SqlState::LOCK_NOT_AVAILABLE, Fault::Endpoint, Retry::Later),
            (SqlState::ADMIN_SHUTDOWN, Fault::Endpoint, Retry::Later),
            (SqlState::TOO_MANY_CONNECTIONS, Fault::Endpoint, Retry::Later),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Fault::Endpoint, Retry::Later),
            (SqlState::DISK_FULL, Fault::Endpoint, Retry::Later),
        ] {
            assert_eq!(class(&state), (fault, retry), "{state:?}");
        }
    }
}
