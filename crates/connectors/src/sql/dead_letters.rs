//! Rows that a database can never take are set aside in a table of their own, in the transaction they would have been part of.

use doc::Node;
use runtime::{ConnectorError, Row};

use super::{Session, Table};

/// The table of what was set aside.
pub(crate) const DEAD_LETTERS: &str = "segtide_dead_letters";

/// The statement that makes the table.
pub(crate) fn create() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {DEAD_LETTERS} (
            materialization TEXT NOT NULL,
            collection TEXT NOT NULL,
            \"table\" TEXT NOT NULL,
            key TEXT NOT NULL,
            document TEXT NOT NULL,
            reason TEXT NOT NULL,
            set_aside_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        );"
    )
}

/// Sets a row aside. Its key and document are kept as JSON, where no character needs to be NUL.
pub(crate) fn set_aside(
    session: &mut dyn Session,
    task: &str,
    table: &Table,
    row: &Row<'_>,
    reason: &str,
) -> Result<(), ConnectorError> {
    let sql = format!(
        "INSERT INTO {DEAD_LETTERS} (materialization, collection, \"table\", key, document, reason)
        VALUES ($1, $2, $3, $4, $5, $6)"
    );
    let key = key_json(row.key);
    session.rows(&sql, &[task, &table.collection, &table.shown(), &key, row.document, &reason.replace('\0', "\\0")])?;
    Ok(())
}

/// What people are told once rows were set aside.
pub(crate) fn note() -> String {
    format!(
        "rows that cannot be stored are set aside, each with the reason, in the table {DEAD_LETTERS} beside the checkpoints; \
         the other documents go on"
    )
}

/// A key as a JSON array.
fn key_json(key: &[Node<'_>]) -> String {
    let parts: Vec<String> = key.iter().map(|part| part.to_json()).collect();
    format!("[{}]", parts.join(","))
}
