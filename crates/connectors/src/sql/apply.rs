//! Opening a database: tables are made or checked, and the fence is taken, in one transaction of the caller's.

use std::collections::BTreeMap;

use runtime::{CheckpointRow, ConnectorError, KeyRange, defect, durable_point};
use serde::{Deserialize, Serialize};

use super::{Dialect, Held, Required, Table, dead_letters, evolve};
use crate::error;

/// The table of checkpoints.
pub(crate) const CHECKPOINTS: &str = "flow_checkpoints_v1";
/// The table of what each materialization keeps.
pub(crate) const SPECS: &str = "flow_materializations_v2";

const SPEC_VERSION: &str = "segtide-1";

/// A connection in a transaction. Texts are bound to `$1`, `$2`, …, whose first uses must come in that order.
pub(crate) trait Session {
    /// Runs statements without arguments.
    fn run(&mut self, sql: &str) -> Result<(), ConnectorError>;
    /// Runs one statement; returns its rows, all columns as text.
    fn rows(&mut self, sql: &str, args: &[&str]) -> Result<Vec<Vec<Option<String>>>, ConnectorError>;
    /// The columns of a table, if it exists. `path` as in [`Table::path`].
    fn columns(&mut self, path: &[String]) -> Result<Option<Vec<Existing>>, ConnectorError>;
}

/// A column that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Existing {
    pub(crate) name: String,
    /// Its type, as the database spells it, in any case.
    pub(crate) kind: String,
    pub(crate) required: bool,
    /// Its place in the primary key, counted from one.
    pub(crate) key: Option<i64>,
}

/// Ownership of a materialization's checkpoint for a range of keys.
#[derive(Debug)]
pub(crate) struct Fence {
    /// The checkpoint at the time of taking over.
    pub(crate) checkpoint: Option<String>,
    /// Whether nothing was ever committed for any key.
    is_fresh: bool,
    /// Rises with each owner, for people.
    pub(crate) number: i64,
    /// Updates the checkpoint to `$1` of the materialization `$2`; touches one row as long as nobody else took over.
    pub(crate) commit: String,
}

/// What is remembered of a materialization.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Spec {
    /// Tables and their collections.
    tables: BTreeMap<String, String>,
    /// Columns that each table is kept up with.
    #[serde(default)]
    columns: BTreeMap<String, Vec<String>>,
}

/// A database that is ready.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) fence: Fence,
    /// What was changed and people should know.
    pub(crate) notes: Vec<String>,
}

/// Makes or checks all tables and takes the fence.
///
/// A table is only used if this materialization made it. One of another version of the catalog is changed where that leaves
/// its rows alone, in the same transaction as the record of it; everything else is refused before anything is changed. One
/// that is gone is not made again while the checkpoint says that it was filled.
pub(crate) fn apply(
    session: &mut dyn Session,
    dialect: Dialect,
    task: &str,
    tables: &[Table],
    range: KeyRange,
    held: &Held,
) -> Result<Applied, ConnectorError> {
    session.run(&format!(
        "CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (
            materialization TEXT NOT NULL,
            key_begin BIGINT NOT NULL,
            key_end BIGINT NOT NULL,
            fence BIGINT NOT NULL,
            nonce TEXT NOT NULL,
            checkpoint TEXT,
            PRIMARY KEY(materialization, key_begin, key_end)
        );
        CREATE TABLE IF NOT EXISTS {SPECS} (
            materialization TEXT NOT NULL,
            version TEXT NOT NULL,
            spec TEXT NOT NULL,
            PRIMARY KEY(materialization)
        );
        {}",
        dead_letters::create()
    ))?;
    let meta = session.columns(&[CHECKPOINTS.to_owned()])?.unwrap_or_default();
    if !meta.iter().any(|column| column.name == "nonce") {
        return Err(error::user(format!(
            "the table {CHECKPOINTS} was made by another program; use another schema or database, or drop it"
        )));
    }

    durable_point("apply.tables_of_ours");
    let fence = take(session, task, range, held)?;
    durable_point("apply.fenced");
    let former = session.rows(&format!("SELECT version, spec FROM {SPECS} WHERE materialization = $1"), &[task])?;
    let former = read_spec(task, former.into_iter().next())?;
    let mut notes = Vec::new();
    for table in tables {
        let shown = table.shown();
        let existing = session.columns(&table.path)?;
        match (former.tables.get(&shown), existing) {
            (None, None) => session.run(&table.create(dialect, Required::AsKnown))?,
            (Some(_), None) if fence.is_fresh => session.run(&table.create(dialect, Required::AsKnown))?,
            (Some(_), None) => {
                return Err(error::user(format!(
                    "table {shown} is gone, but the checkpoint of {task} says that it was filled. To fill it again from the \
                     beginning, drop the other tables of {task} too and delete its rows in {CHECKPOINTS} and {SPECS}"
                )));
            }
            (None, Some(_)) => {
                return Err(error::user(format!(
                    "table {shown} exists already and was not made for {task}. Drop it, or give the binding another table"
                )));
            }
            (Some(collection), Some(_)) if *collection != table.collection => {
                return Err(error::user(format!(
                    "table {shown} was made for collection {collection}, not for {}. Drop it, or give the binding another \
                     table",
                    table.collection
                )));
            }
            (Some(_), Some(existing)) => {
                let kept = former.columns.get(&shown).map(Vec::as_slice);
                let changes = evolve::changes(dialect, table, &existing, kept).map_err(|difference| {
                    error::user(format!(
                        "table {shown} was made for another version of the catalog: {difference}. Give the binding another \
                         table; columns are added and left, and not changed"
                    ))
                })?;
                notes.extend(changes.make(session, dialect, table, &existing)?);
            }
        }
    }
    durable_point("apply.tables");
    let names = |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect();
    let columns = tables.iter().map(|table| (table.shown(), names(table))).collect();
    let tables = tables.iter().map(|table| (table.shown(), table.collection.clone())).collect();
    let spec = serde_json::to_string(&Spec { tables, columns }).expect("names are JSON");
    session.rows(
        &format!(
            "INSERT INTO {SPECS} (materialization, version, spec) VALUES ($1, $2, $3)
            ON CONFLICT (materialization) DO UPDATE SET version = excluded.version, spec = excluded.spec"
        ),
        &[task, SPEC_VERSION, &spec],
    )?;
    Ok(Applied { fence, notes })
}

/// Makes the range one row of ours, and fences the owners of every row that overlaps it.
fn take(session: &mut dyn Session, task: &str, range: KeyRange, held: &Held) -> Result<Fence, ConnectorError> {
    // Former owners commit to these rows. Who touches them first has them to the end of its transaction.
    let KeyRange { begin, end } = range;
    let overlaps = format!("materialization = $1 AND key_begin <= {end} AND key_end >= {begin}");
    session.rows(&format!("UPDATE {CHECKPOINTS} SET fence = fence + 1 WHERE {overlaps}"), &[task])?;
    let rows = session.rows(
        &format!(
            "SELECT CAST(key_begin AS TEXT), CAST(key_end AS TEXT), CAST(fence AS TEXT), checkpoint, nonce FROM {CHECKPOINTS}
            WHERE materialization = $1 ORDER BY key_begin"
        ),
        &[task],
    )?;
    let rows = rows.into_iter().map(read_row).collect::<Option<Vec<_>>>();
    let rows = rows.ok_or_else(|| error::user(format!("a row of {task} in {CHECKPOINTS} cannot be read")))?;
    let nonces: Vec<_> = rows.iter().map(|row| (row.row.range, row.nonce.clone())).collect();
    if held.is_lost(task, range, &nonces) && !defect("skip-fence") {
        return Err(error::fenced(task));
    }
    let is_fresh = rows.iter().all(|row| row.row.checkpoint.is_none());
    let fence = rows.iter().map(|row| row.fence).max().unwrap_or(1);
    let former: Vec<CheckpointRow> = rows.into_iter().map(|row| row.row).collect();
    let (ours, left) = runtime::take_over(&former, range)
        .map_err(|reason| error::user(format!("a row of {task} in {CHECKPOINTS} cannot be read: {reason}")))?;

    session.rows(&format!("DELETE FROM {CHECKPOINTS} WHERE {overlaps}"), &[task])?;
    let nonce = || format!("{:032x}", rand::random::<u128>());
    let own = nonce();
    held.hold(task, range, &own);
    // What is left of a row belongs to nobody until it is taken, as nobody knows its nonce.
    for (row, nonce) in left.iter().map(|row| (row, nonce())).chain([(&ours, own.clone())]) {
        let KeyRange { begin, end } = row.range;
        let (checkpoint, args) = match &row.checkpoint {
            Some(checkpoint) => ("$3", vec![task, &nonce, checkpoint]),
            None => ("NULL", vec![task, &nonce]),
        };
        session.rows(
            &format!(
                "INSERT INTO {CHECKPOINTS} (materialization, key_begin, key_end, fence, nonce, checkpoint)
                VALUES ($1, {begin}, {end}, {fence}, $2, {checkpoint})"
            ),
            &args,
        )?;
    }
    let commit = format!(
        "UPDATE {CHECKPOINTS} SET checkpoint = $1 WHERE materialization = $2
        AND key_begin = {begin} AND key_end = {end} AND fence = {fence} AND nonce = '{own}'"
    );
    Ok(Fence { checkpoint: ours.checkpoint, is_fresh, number: fence, commit })
}

/// A row of checkpoints as it is found.
struct Found {
    row: CheckpointRow,
    fence: i64,
    nonce: String,
}

fn read_row(row: Vec<Option<String>>) -> Option<Found> {
    let mut row = row.into_iter();
    let mut number = || row.next()??.parse::<i64>().ok();
    let (begin, end, fence) = (number()?, number()?, number()?);
    let range = KeyRange { begin: begin.try_into().ok()?, end: end.try_into().ok()? };
    Some(Found { row: CheckpointRow { range, checkpoint: row.next()? }, fence, nonce: row.next()?? })
}

fn read_spec(task: &str, row: Option<Vec<Option<String>>>) -> Result<Spec, ConnectorError> {
    let Some(row) = row else { return Ok(Spec::default()) };
    let mut row = row.into_iter().map(Option::unwrap_or_default);
    let (version, spec) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
    if version != SPEC_VERSION {
        return Err(error::user(format!(
            "the row of {task} in {SPECS} has version {version:?}, and this program knows {SPEC_VERSION:?} only"
        )));
    }
    serde_json::from_str(&spec)
        .map_err(|reason| error::user(format!("the row of {task} in {SPECS} is damaged: {reason}")))
}
