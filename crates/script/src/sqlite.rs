//! Lambdas that are SQLite statements over a database of their derivation's own.
//!
//! Every statement is prepared once, when the derivation is opened, and executed in order for each source document. The rows
//! of any of them are published. `block` splits lambdas into statements, `field` binds parameters, `row` makes documents,
//! `database` is what lasts, `check` finds mistakes before there is one. Source: reference 4.5.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::{Catalog, Collection, Derivation, Lambda, Projection, Text};
use doc::{Arena, Node, Types};
use runtime::{Changes, Kept, LambdaError, Lambdas, Publish, Rows};

use self::database::{Database, failed};
use self::field::{Field, Fields};
use self::row::{Columns, size};
use crate::lambdas::error;
pub(crate) use check::check;

mod block;
mod check;
mod database;
mod field;
mod row;
mod scratch;

/// Time for one source document.
const SOURCE_TIME: Duration = Duration::from_millis(1500);
/// What the lambdas of a block of source documents may publish, about.
const PUBLISHED_BYTES_MAX: usize = 64 << 20;
/// Statements of one derivation.
const STATEMENTS_MAX: usize = 4096;

/// The lambdas of one derivation.
pub(crate) struct Sqlite {
    database: Database,
    /// Where the database is; `None` in memory.
    path: Option<PathBuf>,
    migrations: Vec<Text>,
    transforms: Vec<Transform>,
    /// Properties of derived documents that may be booleans and no strings.
    booleans: Vec<String>,
}

struct Transform {
    name: String,
    fields: Fields,
    statements: Vec<Statement>,
}

struct Statement {
    /// The key of the prepared statement, too.
    sql: String,
    /// Where it is, for messages.
    place: String,
    parameters: Vec<Field>,
    columns: Columns,
}

impl Sqlite {
    /// Opens the database and prepares every statement.
    pub(crate) fn open(
        catalog: &Catalog,
        collection: &Collection,
        derivation: &Derivation,
        migrations: &[Text],
        scratch: Option<&Path>,
        kept: &Kept<'_>,
    ) -> Result<Sqlite, LambdaError> {
        // A `%` is in no collection's name, so each has a file of its own.
        let path = scratch.map(|directory| directory.join(format!("{}.sqlite", collection.name.replace('/', "%"))));
        let database = Database::open(path.as_deref(), kept, migrations)?;
        let is_boolean =
            |p: &&Projection| p.types.contains(Types::BOOLEAN) && p.types.without(Types::STRING) == p.types;
        let property = |p: &Projection| match &*p.pointer.tokens().collect::<Vec<_>>() {
            [one] => Some((*one).to_owned()),
            _ => None,
        };
        let booleans = collection.projections.iter().filter(is_boolean).filter_map(property).collect();
        let mut sqlite = Sqlite { database, path, migrations: migrations.to_vec(), transforms: Vec::new(), booleans };
        for transform in &derivation.transforms {
            let source = catalog
                .collection(&transform.source)
                .ok_or_else(|| error(format!("{} is not in the catalog", transform.source)))?;
            let mut statements = Vec::new();
            if let Some(Lambda::Sql(text)) = &transform.publish {
                let file = text.url.path().rsplit('/').next().filter(|name| name.ends_with(".sql"));
                for piece in block::split(&text.text) {
                    let place = match file {
                        Some(file) => format!("line {} of {file}", piece.line),
                        None => format!("line {} of transform {}", piece.line, transform.name),
                    };
                    statements.push(Statement {
                        sql: piece.sql,
                        place,
                        parameters: Vec::new(),
                        columns: Columns::default(),
                    });
                }
            }
            let fields = Fields::of(source);
            sqlite.transforms.push(Transform { name: transform.name.clone(), fields, statements });
        }
        sqlite.prepare()?;
        Ok(sqlite)
    }

    fn prepare(&mut self) -> Result<(), LambdaError> {
        let count: usize = self.transforms.iter().map(|t| t.statements.len()).sum();
        if count > STATEMENTS_MAX {
            return Err(error(format!("{count} statements are more than the {STATEMENTS_MAX} a derivation may have")));
        }
        let connection = &self.database.connection;
        connection.set_prepared_statement_cache_capacity(count.max(16));
        for transform in &mut self.transforms {
            for statement in &mut transform.statements {
                let place = &statement.place;
                let prepared = connection.prepare_cached(&statement.sql).map_err(|e| failed(place, &e))?;
                statement.parameters.clear();
                for n in 1..=prepared.parameter_count() {
                    let name = prepared.parameter_name(n).map_or_else(|| format!("?{n}"), str::to_owned);
                    let field = transform.fields.find(&name);
                    let unknown = || error(format!("{place}: {}", transform.fields.unknown(&name)));
                    statement.parameters.push(field.cloned().ok_or_else(unknown)?);
                }
            }
        }
        Ok(())
    }
}

impl Lambdas for Sqlite {
    fn update<'a>(&mut self, _: &'a Arena, transform: usize, _: &[Node<'a>]) -> Result<Rows<'a>, LambdaError> {
        Err(error(format!("transform {} has no update lambda", self.transforms[transform].name)))
    }

    fn publish<'a>(
        &mut self,
        arena: &'a Arena,
        transform: usize,
        sources: &[Publish<'a>],
    ) -> Result<Rows<'a>, LambdaError> {
        let Transform { fields, statements, .. } = &mut self.transforms[transform];
        let of = (&*fields, &*self.booleans);
        let mut published = Rows::default();
        let mut bytes = 0;
        for (n, call) in sources.iter().enumerate() {
            self.database.begin(SOURCE_TIME)?;
            for statement in &mut *statements {
                let taken = PUBLISHED_BYTES_MAX - bytes;
                bytes += statement
                    .execute(&self.database, arena, of, call.source, taken, &mut published.documents)
                    .map_err(|e| LambdaError { source_index: Some(n), ..e })?;
            }
            published.ends.push(published.documents.len());
        }
        Ok(published)
    }

    fn changes(&mut self) -> Result<Changes, LambdaError> {
        self.database.changes()
    }

    fn reset(&mut self) -> Result<(), LambdaError> {
        let nothing = |keys: &[&[u8]]| Ok(vec![None; keys.len()]);
        self.database = Database::open(self.path.as_deref(), &nothing, &self.migrations)?;
        self.prepare()
    }
}

impl Statement {
    /// Executes it for one document; adds what it publishes, at most so many bytes, and says how many.
    fn execute<'a>(
        &mut self,
        database: &Database,
        arena: &'a Arena,
        (fields, booleans): (&Fields, &[String]),
        source: Node<'a>,
        bytes_max: usize,
        published: &mut Vec<Node<'a>>,
    ) -> Result<usize, LambdaError> {
        let Statement { sql, place, parameters, columns } = self;
        let mut bytes = 0;
        let mut run = || -> rusqlite::Result<bool> {
            let mut prepared = database.connection.prepare_cached(sql)?;
            for (n, field) in (1..).zip(&*parameters) {
                prepared.raw_bind_parameter::<usize, _>(n, field.value(arena, source))?;
            }
            let count = prepared.column_count();
            let mut rows = prepared.raw_query();
            while let Some(row) = rows.next()? {
                if bytes == 0 {
                    columns.update(row, fields, booleans);
                }
                bytes += size(row, count);
                if bytes > bytes_max {
                    return Ok(false);
                }
                published.push(columns.document(arena, row)?);
            }
            Ok(true)
        };
        match run() {
            Ok(true) => Ok(bytes),
            Ok(false) => {
                let mib = PUBLISHED_BYTES_MAX >> 20;
                Err(error(format!("{place}: more than {mib} MiB are published for a block of documents")))
            }
            Err(e) => Err(failed(place, &e)),
        }
    }
}
