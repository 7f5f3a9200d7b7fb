//! Bringing a table that is there to what the catalog says now: columns are added, or no longer kept up. What cannot be done
//! without touching rows is refused before anything is touched.

use runtime::ConnectorError;

use super::{Column, Dialect, Existing, Required, Session, Table, quote};

/// What a table needs, decided from values alone.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    /// Columns to add.
    added: Vec<&'a Column>,
    /// Columns that were left at some time, and are kept up again.
    resumed: Vec<&'a Column>,
    /// Columns of the table that need not have a value any more.
    loosened: Vec<&'a Existing>,
    /// Columns of the table that the catalog had when it was last applied, and has no more.
    left: Vec<&'a Existing>,
}

/// Compares a table with what it should be; `former` are the columns it was kept with last, if that is known. An error says
/// what cannot be changed.
pub(crate) fn changes<'a>(
    dialect: Dialect,
    table: &'a Table,
    existing: &'a [Existing],
    former: Option<&[String]>,
) -> Result<Changes<'a>, String> {
    let was_kept = |name: &str| former.is_none_or(|former| former.iter().any(|kept| kept == name));
    let mut changes = Changes::default();
    for (n, column) in table.columns.iter().enumerate() {
        let name = &column.name;
        let key = (n < table.keys && !table.delta).then_some(n as i64 + 1);
        let is_document = table.document && n + 1 == table.columns.len();
        let Some(found) = existing.iter().find(|found| found.name == *name) else {
            if key.is_some() || is_document {
                return Err(format!("it has no column {name:?}"));
            }
            changes.added.push(column);
            continue;
        };
        let kind = dialect.column_type(column.kind);
        if !found.kind.eq_ignore_ascii_case(kind) {
            return Err(format!("its column {name:?} is {}, not {kind}", found.kind.to_uppercase()));
        }
        if found.key != key {
            let part = |key: Option<i64>| key.map_or("no part of".to_owned(), |n| format!("part {n} of"));
            return Err(format!("its column {name:?} is {} its key, and should be {}", part(found.key), part(key)));
        }
        if !was_kept(name) {
            if is_document {
                return Err(format!("its column {name:?} was not kept for some time"));
            }
            changes.resumed.push(column);
        }
        if found.required && (!column.required || !was_kept(name)) && key.is_none() {
            changes.loosened.push(found);
        }
    }
    for found in existing.iter().filter(|found| !table.columns.iter().any(|column| column.name == found.name)) {
        if let Some(n) = found.key {
            return Err(format!("its column {:?} is part {n} of its key, and is not kept any more", found.name));
        }
        if found.required {
            changes.loosened.push(found);
        }
        if was_kept(&found.name) {
            changes.left.push(found);
        }
    }
    Ok(changes)
}

impl Changes<'_> {
    /// Makes the changes, in the caller's transaction; says what people should know.
    pub(crate) fn make(
        &self,
        session: &mut dyn Session,
        dialect: Dialect,
        table: &Table,
        existing: &[Existing],
    ) -> Result<Vec<String>, ConnectorError> {
        let (name, shown) = (table.quoted(), table.shown());
        let (mut notes, mut is_rebuilt) = (Vec::new(), false);
        if !self.loosened.is_empty() {
            match dialect {
                Dialect::Postgres => {
                    for column in &self.loosened {
                        session
                            .run(&format!("ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL", quote(&column.name)))?;
                    }
                }
                Dialect::Sqlite => {
                    rebuild(session, table, existing)?;
                    is_rebuilt = true;
                    notes.push(format!(
                        "table {shown} was made anew with all its rows; indexes and triggers of yours on it are gone"
                    ));
                }
            }
        }
        for column in self.added.iter().filter(|_| !is_rebuilt) {
            let (column_name, kind) = (quote(&column.name), dialect.column_type(column.kind));
            session.run(&format!("ALTER TABLE {name} ADD COLUMN {column_name} {kind}"))?;
        }
        for column in &self.resumed {
            session.run(&format!("UPDATE {name} SET {} = NULL", quote(&column.name)))?;
        }
        for column in self.added.iter().chain(&self.resumed) {
            notes.push(format!(
                "table {shown} has a new column {:?}; a row gets its value when it next changes",
                column.name
            ));
        }
        for column in &self.left {
            notes.push(format!(
                "column {:?} of table {shown} is not kept up any more and stays as it is; drop it when nobody needs it",
                column.name
            ));
        }
        Ok(notes)
    }
}

/// Makes a table of SQLite anew, which cannot change a column: the catalog's columns first, then those that were left.
fn rebuild(session: &mut dyn Session, table: &Table, existing: &[Existing]) -> Result<(), ConnectorError> {
    const FORMER: &str = "segtide_former";
    let name = table.quoted();
    session.run(&format!("ALTER TABLE {name} RENAME TO {FORMER}"))?;
    session.run(&table.create(Dialect::Sqlite, Required::Keys))?;
    for column in existing.iter().filter(|found| !table.columns.iter().any(|column| column.name == found.name)) {
        session.run(&format!("ALTER TABLE {name} ADD COLUMN {} {}", quote(&column.name), column.kind))?;
    }
    let columns = existing.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ");
    session.run(&format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {FORMER}; DROP TABLE {FORMER}"))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn column(name: &str, kind: Kind, required: bool) -> Column {
        Column { name: name.into(), kind, required, comment: String::new() }
    }

    fn existing(name: &str, kind: &str, required: bool, key: Option<i64>) -> Existing {
        Existing { name: name.into(), kind: kind.into(), required, key }
    }

    #[test]
    fn what_can_be_changed_and_what_cannot() {
        let table = Table {
            path: vec!["t".into()],
            columns: vec![
                column("id", Kind::Integer, true),
                column("a", Kind::Text, true),
                column("b", Kind::Number, false),
                column("doc", Kind::Json, true),
            ],
            keys: 1,
            document: true,
            delta: false,
            collection: "c".into(),
        };
        let id = || existing("id", "bigint", true, Some(1));
        let a = || existing("a", "text", true, None);
        let b = || existing("b", "double precision", false, None);
        let doc = || existing("doc", "json", true, None);
        let kept = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let all = kept(&["id", "a", "b", "doc"]);
        for (existing, former, expected) in [
            (vec![id(), a(), b(), doc()], all.clone(), "[] [] [] []"),
            (vec![id(), a(), b(), doc()], None, "[] [] [] []"),
            (vec![id(), a(), doc()], kept(&["id", "a", "doc"]), "[b] [] [] []"),
            // A new field that must exist cannot be filled for rows that are there.
            (vec![id(), b(), doc()], kept(&["id", "b", "doc"]), "[a] [] [] []"),
            (vec![id(), existing("a", "text", false, None), b(), doc()], all.clone(), "[] [] [] []"),
            (vec![id(), a(), existing("b", "double precision", true, None), doc()], all.clone(), "[] [] [b] []"),
            (
                vec![id(), a(), b(), existing("c", "text", true, None), doc()],
                kept(&["id", "a", "b", "c", "doc"]),
                "[] [] [c] [c]",
            ),
            // It was left before, and that has been said.
            (vec![id(), a(), b(), existing("c", "text", false, None), doc()], all.clone(), "[] [] [] []"),
            (vec![id(), a(), b(), doc()], kept(&["id", "a", "doc"]), "[] [b] [] []"),
            (
                vec![id(), existing("a", "bigint", true, None), b(), doc()],
                all.clone(),
                "its column \"a\" is BIGINT, not TEXT",
            ),
            (vec![a(), b(), doc()], all.clone(), "it has no column \"id\""),
            (vec![id(), a(), b()], all.clone(), "it has no column \"doc\""),
            (vec![id(), a(), b(), doc()], kept(&["id", "a", "b"]), "its column \"doc\" was not kept for some time"),
            (
                vec![id(), existing("a", "text", true, Some(2)), b(), doc()],
                all.clone(),
                "its column \"a\" is part 2 of its key, and should be no part of",
            ),
            (
                vec![id(), a(), b(), existing("c", "text", true, Some(2)), doc()],
                all.clone(),
                "its column \"c\" is part 2 of its key, and is not kept any more",
            ),
        ] {
            let found = changes(Dialect::Postgres, &table, &existing, former.as_deref()).map(|changes| {
                let ours = |columns: &[&Column]| columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
                let theirs =
                    |columns: &[&Existing]| columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
                let Changes { added, resumed, loosened, left } = &changes;
                format!("[{}] [{}] [{}] [{}]", ours(added), ours(resumed), theirs(loosened), theirs(left))
            });
            assert_eq!(found.unwrap_or_else(|refused| refused), expected, "{existing:?}");
        }
    }
}
