//! The databases the suite runs against, and a plain connection of its own to look at what is in them.

use catalog::Endpoint;
use postgres::SimpleQueryMessage;
use rusqlite::types::ValueRef;
use serde_json::json;
use tempfile::TempDir;
use testkit::Postgres;

use crate::fixture::endpoint;

/// A database of one case.
pub(crate) enum Backend<'c> {
    Sqlite(TempDir),
    Postgres(&'c Postgres, String),
}

impl<'c> Backend<'c> {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A new schema of this name.
    pub(crate) fn postgres(cluster: &'c Postgres, schema: &str) -> Self {
        let quoted = schema.replace('"', "\"\"");
        cluster.connect().batch_execute(&format!("CREATE SCHEMA \"{quoted}\"")).unwrap();
        Self::of_schema(cluster, schema)
    }

    /// A schema that is there.
    pub(crate) fn of_schema(cluster: &'c Postgres, schema: &str) -> Self {
        Self::Postgres(cluster, schema.into())
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Sqlite(dir) => {
                let base = format!("file://{}/catalog.flow.yaml", dir.path().display());
                endpoint("materialize-sqlite", &base, json!({"path": "tables.db?_journal=WAL"}))
            }
            Self::Postgres(cluster, schema) => {
                let (user, password) = (cluster.user(), cluster.password());
                let address = format!("127.0.0.1:{}", cluster.port());
                let config = json!({"address": address, "user": user, "password": password, "schema": schema});
                endpoint("materialize-postgres", "file:///a.yaml", config)
            }
        }
    }

    pub(crate) fn run(&self, sql: &str) {
        self.query(sql);
    }

    /// Rows as text: booleans as `0` and `1`, and `NULL`.
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<String>> {
        match self {
            Self::Sqlite(dir) => {
                let connection = rusqlite::Connection::open(dir.path().join("tables.db")).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let columns = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                let mut all = Vec::new();
                while let Some(row) = rows.next().unwrap() {
                    all.push((0..columns).map(|n| text(row.get_ref(n).unwrap())).collect());
                }
                all
            }
            Self::Postgres(cluster, schema) => {
                let mut client = cluster.connect();
                client.batch_execute(&format!("SET search_path TO \"{}\"", schema.replace('"', "\"\""))).unwrap();
                let rows = client.simple_query(sql).unwrap().into_iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                let text = |text: Option<&str>| match text {
                    None => "NULL".to_owned(),
                    Some("t") => "1".to_owned(),
                    Some("f") => "0".to_owned(),
                    Some(text) => text.to_owned(),
                };
                rows.map(|row| (0..row.len()).map(|n| text(row.get(n))).collect()).collect()
            }
        }
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) if value.abs() > 1e15 => format!("{value:e}").replace('e', "e+"),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(value) | ValueRef::Blob(value) => String::from_utf8(value.to_vec()).unwrap(),
    }
}
