//! What a run gave, told from others by its number of documents and a digest of their contents, in whatever order.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use doc::{Arena, Field, Node};
use rusqlite::OpenFlags;
use xxhash_rust::xxh3::xxh3_64;

use crate::floor;
use crate::segtide::TABLES;

/// The documents of a table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    /// How many there are.
    pub(crate) rows: u64,
    /// The sum of their hashes.
    sum: u64,
}

impl Digest {
    /// Adds a document. `_meta` is left out wherever it is: identifiers of a run are no content.
    fn add(&mut self, arena: &mut Arena, document: &str) -> anyhow::Result<()> {
        arena.reset();
        let node = doc::parse(arena, document.as_bytes()).with_context(|| document.to_owned())?;
        let mut text = Vec::new();
        doc::write(without_meta(arena, node), &mut text);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&text));
        Ok(())
    }
}

fn without_meta<'a>(arena: &'a Arena, node: Node<'a>) -> Node<'a> {
    match node {
        Node::Object(fields) => {
            let kept = fields.iter().filter(|field| field.name != "_meta");
            Node::object(arena, kept.map(|f| Field { name: f.name, value: without_meta(arena, f.value) }).collect())
        }
        Node::Array(items) => {
            Node::array(arena, &items.iter().map(|item| without_meta(arena, *item)).collect::<Vec<_>>())
        }
        scalar => scalar,
    }
}

/// Memberships, profiles and toggles.
pub(crate) type Results = [Digest; 3];

/// What the floor wrote into a directory.
pub(crate) fn of_floor(directory: &Path) -> anyhow::Result<Results> {
    let mut results = Results::default();
    let mut arena = Arena::new();
    for (digest, name) in results.iter_mut().zip([floor::MEMBERSHIPS, floor::PROFILES, floor::TOGGLES]) {
        for line in BufReader::new(File::open(directory.join(name))?).lines() {
            digest.add(&mut arena, &line?)?;
        }
    }
    Ok(results)
}

fn select(table: &str) -> String {
    format!("SELECT CAST(flow_document AS TEXT) FROM {table}")
}

/// What Segtide put into an SQLite database.
pub(crate) fn of_sqlite(database: &Path) -> anyhow::Result<Results> {
    let connection = rusqlite::Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut results = Results::default();
    let mut arena = Arena::new();
    for (digest, table) in results.iter_mut().zip(TABLES) {
        let mut statement = connection.prepare(&select(table))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            digest.add(&mut arena, row.get_ref(0)?.as_str()?)?;
        }
    }
    Ok(results)
}

/// What Segtide put into a PostgreSQL database.
pub(crate) fn of_postgres(server: &testkit::Postgres) -> anyhow::Result<Results> {
    let mut client = server.connect();
    let mut transaction = client.transaction()?;
    let mut results = Results::default();
    let mut arena = Arena::new();
    for (digest, table) in results.iter_mut().zip(TABLES) {
        let rows = transaction.bind(&select(table), &[])?;
        loop {
            let block = transaction.query_portal(&rows, 10_000)?;
            if block.is_empty() {
                break;
            }
            for row in block {
                digest.add(&mut arena, row.get(0))?;
            }
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(documents: &[&str]) -> Digest {
        let mut digest = Digest::default();
        documents.iter().for_each(|document| digest.add(&mut Arena::new(), document).unwrap());
        digest
    }

    #[test]
    fn contents_count_and_their_order_does_not() {
        let one = digest(&[r#"{"a":1,"b":{"_meta":{"uuid":"U"},"c":2}}"#, r#"{"a":2}"#]);
        assert_eq!(one, digest(&[r#"{"_meta":{"uuid":"V"},"a":2}"#, r#"{"b":{"c":2},"a":1}"#]));
        assert_ne!(one, digest(&[r#"{"a":2}"#, r#"{"b":{"c":3},"a":1}"#]));
        assert_ne!(one, digest(&[r#"{"a":2}"#]));
    }
}
