//! `materialize-postgres`: tables in PostgreSQL.
//!
//! Loads and stores bind whole columns as arrays, one statement for thousands of rows: `unnest` makes rows of them again.
//! The session's timeouts see to it that an owner who was stopped in the middle of a transaction cannot hold its rows for
//! ever.

use std::time::Duration;

use ::postgres::error::SqlState;
use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::types::ToSql;
use ::postgres::{Client, NoTls, Statement};
use catalog::{BindingRules, Collection, ConfigError, Endpoint, Materialization};
use doc::Node;
use runtime::{ConnectorError, Fault, KeyRange, Retry, Row, defect, durable_point};
use serde_json::Value;

use crate::config::{Fields, both};
use crate::error;
use crate::sql::{self, Column, Dialect, Existing, Fence, Kind, Misfit, Session, Table, names, quote};

const DIALECT: Dialect = Dialect::Postgres;
const PORT_DEFAULT: u16 = 5432;
const SCHEMA_DEFAULT: &str = "public";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const UNANSWERED_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// With the wait for a lock and the wait to try again, a successor goes on within a minute.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 30_000;
const LOCK_TIMEOUT_MS: u64 = 30_000;
const STATEMENT_TIMEOUT_MS: u64 = 300_000;
/// Rows of one statement.
const ROWS_MAX: usize = 10_000;
/// Bytes of documents of one statement, unless one document has more.
const BYTES_MAX: usize = 8 << 20;

struct Config {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: Option<String>,
    schema: Option<String>,
}

fn read_config(endpoint: &Endpoint) -> Result<Config, Vec<ConfigError>> {
    let mut fields = Fields::config(&endpoint.config);
    let address: Option<String> = fields.optional("address");
    let mut host: Option<String> = match address {
        Some(_) => fields.optional("host"),
        None => fields.required("host", "where the server is; or give `address`, `host:port`"),
    };
    let mut port: Option<u64> = fields.optional("port");
    if let Some(address) = address {
        if host.is_some() || port.is_some() {
            fields.wrong("address", "`address` says again what `host` and `port` say", Some("give one or the other"));
        }
        // An IPv6 address has colons of its own, and brackets around it when a port follows.
        let (before, after) = match address.rsplit_once(':') {
            Some((before, after)) if !before.contains(':') || before.ends_with(']') => (before, Some(after)),
            _ => (address.as_str(), None),
        };
        host = Some(before.trim_start_matches('[').trim_end_matches(']').to_owned());
        if let Some(after) = after {
            port = after.parse().ok();
            if port.is_none() {
                fields.wrong("address", "what follows the colon is no port", Some("write it as `host:port`"));
            }
        }
    }
    if host.as_ref().is_some_and(|host| host.is_empty() || host.contains('\0')) {
        fields.wrong("host", "this is no host", None);
    }
    let port = port.unwrap_or(u64::from(PORT_DEFAULT));
    let port = u16::try_from(port).ok().filter(|port| *port > 0).unwrap_or_else(|| {
        fields.wrong("port", "a port is between 1 and 65535", None);
        PORT_DEFAULT
    });
    let user: Option<String> = fields.required("user", "the role to log in as");
    let password: Option<String> = fields.required("password", "the role's password");
    let database: Option<String> = fields.optional("database");
    let dbname: Option<String> = fields.optional("dbname");
    if database.is_some() && dbname.is_some() {
        fields.wrong("dbname", "`dbname` says again what `database` says", Some("keep `database`"));
    }
    let schema: Option<String> = fields.optional("schema");
    if let Some(mistake) = schema.as_ref().and_then(|schema| sql::name_mistake(DIALECT, schema)) {
        fields.wrong("schema", mistake, None);
    }
    let errors = fields.finish();
    match (host, user, password) {
        (Some(host), Some(user), Some(password)) if errors.is_empty() => {
            Ok(Config { host, port, user, password, database: database.or(dbname), schema })
        }
        _ => Err(errors),
    }
}

struct Resource {
    path: Vec<String>,
    delta: bool,
}

fn read_resource(n: usize, resource: &Value) -> Result<Resource, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource);
    let table: Option<String> = fields.required("table", "the table to keep the documents in");
    let schema: Option<String> = fields.optional("schema");
    let delta = fields.optional("delta_updates").unwrap_or(false);
    for (field, name) in [("table", &table), ("schema", &schema)] {
        if let Some(mistake) = name.as_ref().and_then(|name| sql::name_mistake(DIALECT, name)) {
            fields.wrong(field, mistake, None);
        }
    }
    if table.as_ref().is_some_and(|table| table == sql::CHECKPOINTS || table == sql::SPECS) {
        fields.wrong("table", "this name is reserved", Some("choose another"));
    }
    let errors = fields.finish();
    let resource = table.map(|table| Resource { path: schema.into_iter().chain([table]).collect(), delta });
    resource.filter(|_| errors.is_empty()).ok_or(errors)
}

/// Checks the configuration alone.
pub(crate) fn check_config(endpoint: &Endpoint) -> Result<(), Vec<ConfigError>> {
    read_config(endpoint).map(drop)
}

/// Checks the configuration and one binding's resource.
pub(crate) fn check(
    endpoint: &Endpoint,
    resource: &Value,
    collection: &Collection,
) -> Result<BindingRules, Vec<ConfigError>> {
    let (config, resource) = both(read_config(endpoint), read_resource(0, resource))?;
    let constraints = sql::constraints(DIALECT, collection);
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
        let store = format!("INSERT INTO {name} ({columns}) SELECT {values} FROM {all}{}", table.on_conflict());
        let store = client.prepare(&store).map_err(failure)?;
        let (mut load, mut delete) = (None, None);
        if !table.delta {
            let document = table.columns.last().map(|column| quote(&column.name)).unwrap_or_default();
            let (_, keys) = unnest(table.key_columns());
            let matches = table.key_columns().iter().enumerate();
            let matches = matches.map(|(n, column)| format!("t.{} = k.c{n}", quote(&column.name))).collect::<Vec<_>>();
            let matches = matches.join(" AND ");
            let sql = format!("SELECT CAST(t.{document} AS TEXT) FROM {keys} JOIN {name} AS t ON {matches}");
            load = Some(client.prepare(&sql).map_err(failure)?);
            let sql = format!("DELETE FROM {name} AS t USING {keys} WHERE {matches}");
            delete = Some(client.prepare(&sql).map_err(failure)?);
        }
        Ok(Self { table, load, store, delete })
    }
}

/// The columns' values, and the rows `k` they come from: one array per column.
fn unnest(columns: &[Column]) -> (String, String) {
    let element = |kind| match kind {
        Kind::Integer => "bigint",
        Kind::Number => "double precision",
        Kind::Boolean => "boolean",
        Kind::Text | Kind::Json => "text",
    };
    let value = |(n, column): (usize, &Column)| match column.kind {
        Kind::Json => format!("CAST(k.c{n} AS json)"),
        _ => format!("k.c{n}"),
    };
    let values = columns.iter().enumerate().map(value).collect::<Vec<_>>().join(", ");
    let arrays =
        columns.iter().enumerate().map(|(n, column)| format!("CAST(${} AS {}[])", n + 1, element(column.kind)));
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let names = (0..columns.len()).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    (values, format!("unnest({arrays}) AS k({names})"))
}

impl Postgres {
    /// Connects, makes or checks the tables, and takes the fence of a range of keys.
    pub(crate) fn open(
        task: &Materialization,
        collections: &[&Collection],
        range: KeyRange,
    ) -> Result<Self, ConnectorError> {
        let config = read_config(&task.endpoint).map_err(error::config)?;
        let mut tables = Vec::new();
        for (n, (binding, collection)) in task.bindings.iter().zip(collections).enumerate() {
            let resource = read_resource(n, &binding.resource).map_err(error::config)?;
            tables.push(Table::new(DIALECT, resource.path, binding, collection)?);
        }
        let mut client = connect(&config, &task.name)?;

        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").map_err(failure)?;
        // Making a table that is being made at the same time fails, even with IF NOT EXISTS.
        client.batch_execute("SELECT pg_advisory_xact_lock(hashtext('segtide'))").map_err(failure)?;
        let fence = sql::apply(&mut client, DIALECT, &task.name, &tables, range)?;
        durable_point("pg.applied");
        client.batch_execute("COMMIT").map_err(failure)?;
        durable_point("pg.opened");

        let bindings = tables.into_iter().map(|table| Binding::new(&mut client, table)).collect::<Result<_, _>>()?;
        let commit = client.prepare(&fence.commit).map_err(failure)?;
        Ok(Self { client, task: task.name.clone(), bindings, fence, commit, open: false })
    }

    fn begin(&mut self) -> Result<(), ConnectorError> {
        if !self.open {
            self.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").map_err(failure)?;
            self.open = true;
        }
        Ok(())
    }
}

fn connect(config: &Config, task: &str) -> Result<Client, ConnectorError> {
    let mut to = ::postgres::Config::new();
    to.host(&config.host).port(config.port).user(&config.user).password(&config.password);
    if let Some(database) = &config.database {
        to.dbname(database);
    }
    let name: String = format!("segtide/{task}").chars().filter(|char| !char.is_control()).collect();
    to.application_name(&name);
    to.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(UNANSWERED_TIMEOUT);
    to.keepalives(true).keepalives_idle(KEEPALIVE_IDLE);
    to.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_RETRIES);
    let mut client = to.connect(NoTls).map_err(failure)?;
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

impl runtime::Table for Postgres {
    fn checkpoint(&self) -> Option<&str> {
        self.fence.checkpoint.as_deref()
    }

    fn load(
        &mut self,
        binding: usize,
        keys: &[&[Node<'_>]],
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ConnectorError> {
        let Binding { table, load, .. } = &self.bindings[binding];
        let Some(load) = load else { return Ok(()) };
        for keys in keys.chunks(ROWS_MAX) {
            let arrays = key_arrays(table, keys.iter().copied())?;
            let mut rows = self.client.query_raw(load, arrays.iter().map(Array::bind)).map_err(failure)?;
            while let Some(row) = rows.next().map_err(failure)? {
                found(row.try_get::<_, &str>(0).map_err(failure)?.as_bytes());
            }
        }
        Ok(())
    }

    fn store(&mut self, binding: usize, rows: &[Row<'_>]) -> Result<(), ConnectorError> {
        durable_point("pg.loaded");
        self.begin()?;
        let Binding { table, store, delete, .. } = &self.bindings[binding];
        let mut rest = rows;
        while !rest.is_empty() {
            let mut bytes = 0;
            let more = rest.iter().take(ROWS_MAX).take_while(|row| {
                let fits = bytes == 0 || bytes + row.document.len() <= BYTES_MAX;
                bytes += row.document.len().max(1);
                fits
            });
            let (chunk, after) = rest.split_at(more.count());
            rest = after;

            let deleted = |row: &&Row<'_>| row.delete && delete.is_some();
            if let Some(delete) = delete
                && chunk.iter().any(|row| deleted(&row))
            {
                let arrays = key_arrays(table, chunk.iter().filter(deleted).map(|row| row.key))?;
                let arrays: Vec<_> = arrays.iter().map(Array::bind).collect();
                self.client.execute(delete, &arrays).map_err(failure)?;
            }
            let stored = || chunk.iter().filter(|row| !deleted(row));
            let mut arrays = key_arrays(table, stored().map(|row| row.key))?;
            let values = table.columns[table.keys..].len() - usize::from(table.document);
            for (n, column) in table.columns[table.keys..][..values].iter().enumerate() {
                let pairs = stored().map(|row| (row.key, row.values[n]));
                arrays.push(Array::new(table, column, pairs)?);
            }
            if table.document {
                arrays.push(Array::Texts(stored().map(|row| Some(row.document)).collect()));
            }
            let arrays: Vec<_> = arrays.iter().map(Array::bind).collect();
            self.client.execute(store, &arrays).map_err(failure)?;
            durable_point("pg.rows_stored");
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &str) -> Result<(), ConnectorError> {
        self.begin()?;
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
        Ok(())
    }
}

/// One column of many rows.
enum Array<'a> {
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<&'a str>>),
    Json(Vec<Option<String>>),
}

impl<'a> Array<'a> {
    /// The values of a column, each with the key of its row.
    fn new<'k>(
        table: &Table,
        column: &Column,
        rows: impl Iterator<Item = (&'k [Node<'k>], Node<'a>)>,
    ) -> Result<Self, ConnectorError> {
        fn all<'k, 'a, T>(
            (table, column): (&Table, &Column),
            rows: impl Iterator<Item = (&'k [Node<'k>], Node<'a>)>,
            read: impl Fn(Node<'a>) -> Result<Option<T>, Misfit>,
        ) -> Result<Vec<Option<T>>, ConnectorError> {
            rows.map(|(key, value)| read(value).map_err(|misfit| misfit.at(table, column, key))).collect()
        }
        let at = (table, column);
        Ok(match column.kind {
            Kind::Integer => Array::Integers(all(at, rows, sql::integer)?),
            Kind::Number => Array::Numbers(all(at, rows, sql::number)?),
            Kind::Boolean => Array::Booleans(all(at, rows, sql::boolean)?),
            Kind::Text => Array::Texts(all(at, rows, text)?),
            Kind::Json => Array::Json(all(at, rows, |value| Ok(json(value)))?),
        })
    }

    fn bind(&self) -> &(dyn ToSql + Sync) {
        match self {
            Array::Integers(values) => values,
            Array::Numbers(values) => values,
            Array::Booleans(values) => values,
            Array::Texts(values) => values,
            Array::Json(values) => values,
        }
    }
}

fn key_arrays<'a>(
    table: &Table,
    keys: impl Iterator<Item = &'a [Node<'a>]> + Clone,
) -> Result<Vec<Array<'a>>, ConnectorError> {
    let columns = table.key_columns().iter().enumerate();
    columns.map(|(n, column)| Array::new(table, column, keys.clone().map(|key| (key, key[n])))).collect()
}

fn text(value: Node<'_>) -> Result<Option<&str>, Misfit> {
    const NUL: Misfit = Misfit("holds the character NUL (\\u0000), which PostgreSQL cannot store as text");
    match sql::text(value)? {
        Some(text) if text.contains('\0') => Err(NUL),
        text => Ok(text),
    }
}

fn json(value: Node<'_>) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let mut text = Vec::new();
    doc::write(value, &mut text);
    Some(String::from_utf8(text).expect("JSON is text"))
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
