//! Which fields of a collection a binding keeps: a pure function of its projections, what the connector says of each, and
//! what the author wants.

use doc::Pointer;

use crate::{Constraint, FieldSelection, Projection};

/// What an author says of fields.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// Fields that must be kept.
    pub include: &'w [&'w str],
    /// Fields that must not be.
    pub exclude: &'w [&'w str],
    /// Whether to keep what the connector recommends.
    pub recommended: bool,
}

/// Why a wish, or a connector's demand, cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldProblem {
    /// An included or excluded field is not a projection.
    Unknown(String),
    /// A field is both included and excluded.
    Both(String),
    /// The connector demands a field and cannot take it.
    Unsatisfiable(String, &'static str),
    /// An included field cannot be kept.
    Forbidden(String, &'static str),
    /// An excluded field must be kept.
    Required(String, &'static str),
    /// No field of this location is kept, and one must be.
    Location(Pointer, &'static str),
}

/// Selects fields. `constraints` are in the order of `projections`, which are sorted by field; a missing one forbids.
///
/// 1. Included and required fields come first, then explicit projections, then canonical ones, each by name.
/// 2. A required location takes the first field of it, a recommended one too where the author lets it; so an explicit
///    projection stands in for the canonical one of its location.
/// 3. The first kept field of each location of the key is a key, the first of the root is the document, and all else,
///    sorted, are values. If some location of the key has no field there are no keys, and those that have are values.
pub fn select(
    key: &[Pointer],
    projections: &[Projection],
    constraints: &[(Constraint, &'static str)],
    wanted: Wanted,
) -> (FieldSelection, Vec<FieldProblem>) {
    let mut problems = Vec::new();
    let known = |field: &str| projections.iter().any(|projection| projection.field == field);
    for &field in wanted.include.iter().chain(wanted.exclude) {
        if !known(field) {
            problems.push(FieldProblem::Unknown(field.to_owned()));
        }
    }
    for &field in wanted.include {
        if wanted.exclude.contains(&field) {
            problems.push(FieldProblem::Both(field.to_owned()));
        }
    }

    let constraint =
        |at: usize| constraints.get(at).copied().unwrap_or((Constraint::Forbidden, "the connector does not know it"));
    let included = |at: usize| wanted.include.contains(&projections[at].field.as_str());
    let must = |at: usize| included(at) || constraint(at).0 == Constraint::FieldRequired;
    let mut order: Vec<usize> = (0..projections.len()).collect();
    order.sort_by_key(|&at| (!must(at), !projections[at].explicit));

    let mut selected: Vec<&Projection> = Vec::new();
    for at in order {
        let projection = &projections[at];
        let field = || projection.field.clone();
        let (constraint, reason) = constraint(at);
        let excluded = wanted.exclude.contains(&projection.field.as_str());
        let open = |selected: &[&Projection]| selected.iter().all(|other| other.pointer != projection.pointer);
        let take = match constraint {
            Constraint::Unsatisfiable => {
                problems.push(FieldProblem::Unsatisfiable(field(), reason));
                false
            }
            Constraint::Forbidden if included(at) => {
                problems.push(FieldProblem::Forbidden(field(), reason));
                false
            }
            Constraint::FieldRequired if excluded => {
                problems.push(FieldProblem::Required(field(), reason));
                false
            }
            _ if excluded => false,
            _ if must(at) => true,
            Constraint::LocationRequired => open(&selected),
            Constraint::LocationRecommended => wanted.recommended && open(&selected),
            _ => false,
        };
        if take {
            selected.push(projection);
        }
    }

    for (at, projection) in projections.iter().enumerate() {
        let (constraint, reason) = constraint(at);
        let missing = selected.iter().all(|other| other.pointer != projection.pointer);
        let problem = FieldProblem::Location(projection.pointer.clone(), reason);
        if constraint == Constraint::LocationRequired && missing && !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    (arrange(key, &selected), problems)
}

fn arrange(key: &[Pointer], selected: &[&Projection]) -> FieldSelection {
    let first = |pointer: &Pointer| selected.iter().find(|projection| projection.pointer == *pointer);
    let keys: Option<Vec<String>> = key.iter().map(|pointer| first(pointer).map(|p| p.field.clone())).collect();
    let keys = keys.unwrap_or_default();
    let document = first(&Pointer::root()).map(|projection| projection.field.clone());
    let rest = selected.iter().map(|projection| &projection.field);
    let mut values: Vec<String> =
        rest.filter(|field| !keys.contains(field) && document.as_ref() != Some(*field)).cloned().collect();
    values.sort();
    FieldSelection { keys, values, document }
}

#[cfg(test)]
mod tests {
    use doc::Types;

    use super::*;
    use Constraint::*;

    /// Columns: a field, its location, whether it is explicit, what the connector says.
    type Row = (&'static str, &'static str, bool, Constraint);

    /// Memberships as an SQL connector sees them.
    const SQL: &[Row] = &[
        ("first", "/first", false, LocationRecommended),
        ("flow_document", "", false, LocationRequired),
        ("segment", "/segment", false, Optional),
        ("segment/name", "/segment/name", false, LocationRequired),
        ("segment/vendor", "/segment/vendor", false, LocationRequired),
        ("segment_name", "/segment/name", true, LocationRequired),
        ("tags", "/tags", false, Forbidden),
        ("user", "/user", false, LocationRequired),
        ("user_id", "/user", true, LocationRequired),
    ];

    fn run(rows: &[Row], include: &[&str], exclude: &[&str], recommended: bool) -> (String, Vec<FieldProblem>) {
        let key: Vec<Pointer> =
            ["/segment/vendor", "/segment/name", "/user"].iter().map(|text| text.parse().unwrap()).collect();
        let projections: Vec<Projection> = rows
            .iter()
            .map(|&(field, pointer, explicit, _)| Projection {
                field: field.to_owned(),
                pointer: pointer.parse().unwrap(),
                explicit,
                partition: false,
                key: false,
                types: Types::STRING,
                must_exist: true,
                format: None,
            })
            .collect();
        let constraints: Vec<_> = rows.iter().map(|row| (row.3, "why")).collect();
        let (fields, problems) = select(&key, &projections, &constraints, Wanted { include, exclude, recommended });
        let text = format!(
            "{} | {} | {}",
            fields.keys.join(" "),
            fields.values.join(" "),
            fields.document.unwrap_or_default()
        );
        (text, problems)
    }

    #[test]
    fn selections() {
        let keys = "segment/vendor segment_name user_id";
        type Case<'c> = (&'c str, &'c [&'c str], &'c [&'c str], bool, String);
        let cases: &[Case] = &[
            ("recommended", &[], &[], true, format!("{keys} | first | flow_document")),
            ("only what must be", &[], &[], false, format!("{keys} |  | flow_document")),
            ("an included optional", &["segment"], &[], false, format!("{keys} | segment | flow_document")),
            ("an excluded recommendation", &[], &["first"], true, format!("{keys} |  | flow_document")),
            (
                "a canonical name instead",
                &["user"],
                &[],
                false,
                "segment/vendor segment_name user |  | flow_document".into(),
            ),
            ("both names", &["user", "user_id"], &[], false, format!("{keys} | user | flow_document")),
            (
                "an excluded explicit key",
                &[],
                &["user_id"],
                false,
                "segment/vendor segment_name user |  | flow_document".into(),
            ),
        ];
        for (name, include, exclude, recommended, expected) in cases {
            assert_eq!(run(SQL, include, exclude, *recommended), (expected.clone(), vec![]), "{name}");
        }
    }

    #[test]
    fn documents_only() {
        let rows: Vec<Row> = SQL
            .iter()
            .map(|&(field, pointer, explicit, _)| {
                (field, pointer, explicit, if pointer.is_empty() { LocationRequired } else { Forbidden })
            })
            .collect();
        assert_eq!(run(&rows, &[], &[], true), (" |  | flow_document".to_owned(), vec![]));
    }

    #[test]
    fn problems() {
        use FieldProblem::*;
        let user: Pointer = "/user".parse().unwrap();
        let with = |field: &str, constraint: Constraint| -> Vec<Row> {
            SQL.iter().map(|&(f, p, e, c)| (f, p, e, if f == field { constraint } else { c })).collect()
        };
        type Case<'c> = (&'c str, Vec<Row>, &'c [&'c str], &'c [&'c str], Vec<FieldProblem>);
        let cases: &[Case] = &[
            ("unknown fields", SQL.to_vec(), &["x"], &["y"], vec![Unknown("x".into()), Unknown("y".into())]),
            ("both", SQL.to_vec(), &["first"], &["first"], vec![Both("first".into())]),
            ("forbidden", SQL.to_vec(), &["tags"], &[], vec![Forbidden("tags".into(), "why")]),
            ("required", with("first", FieldRequired), &[], &["first"], vec![Required("first".into(), "why")]),
            (
                "unsatisfiable",
                with("first", Constraint::Unsatisfiable),
                &[],
                &[],
                vec![Unsatisfiable("first".into(), "why")],
            ),
            ("no field of a location", SQL.to_vec(), &[], &["user", "user_id"], vec![Location(user, "why")]),
        ];
        for (name, rows, include, exclude, expected) in cases {
            assert_eq!(run(rows, include, exclude, true).1, *expected, "{name}");
        }
    }
}
