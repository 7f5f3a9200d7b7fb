//! Catalogs to begin with, as `init` and `demo` write them.

use std::path::Path;

use anyhow::Context as _;

/// A catalog to begin with. Its root file is [`ROOT`].
#[derive(Debug)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its files: paths and texts.
    pub files: &'static [(&'static str, &'static str)],
    /// The SQLite database of its tables.
    pub database: Option<&'static str>,
    /// What another terminal runs while it is run, and what for.
    pub beside: Option<(&'static str, &'static str)>,
    /// What to do once it runs.
    pub next: &'static [(&'static str, &'static str)],
}

/// The file that a catalog begins with.
pub const ROOT: &str = "flow.yaml";

/// A file that many folders have already, and that is not part of the catalog.
pub const IGNORE: &str = ".gitignore";
const IGNORED: (&str, &str) = (IGNORE, "segtide_develop/\nflow_generated/\n*.db\n*.db-*\n");

/// The flagship: events of marketing segments.
pub const SEGMENTATION: Template = Template {
    name: "segmentation",
    about: "who is in a segment, which segments a user is in, and what changes it",
    files: &[
        IGNORED,
        (ROOT, include_str!("../templates/segmentation/flow.yaml")),
        ("capture.flow.yaml", include_str!("../../../examples/segmentation/capture.flow.yaml")),
        ("derive.flow.yaml", include_str!("../../../examples/segmentation/derive.flow.yaml")),
        ("derive.flow.ts", include_str!("../../../examples/segmentation/derive.flow.ts")),
        ("materialize.flow.yaml", include_str!("../../../examples/segmentation/materialize.flow.yaml")),
        ("materialize-webhook.flow.yaml", include_str!("../../../examples/segmentation/materialize-webhook.flow.yaml")),
        ("tests.flow.yaml", include_str!("../../../examples/segmentation/tests.flow.yaml")),
        ("schemas/event.schema.yaml", include_str!("../../../examples/segmentation/schemas/event.schema.yaml")),
        ("schemas/derived.schema.yaml", include_str!("../../../examples/segmentation/schemas/derived.schema.yaml")),
    ],
    database: Some("segmentation.db"),
    beside: Some(("segtide webhook", "in another terminal: receives the toggles")),
    next: &[("sqlite3 segmentation.db 'SELECT * FROM segment_memberships LIMIT 5'", "who is in a segment")],
};

/// All there are; the first one is what `init` takes if none is named.
pub const TEMPLATES: &[Template] = &[
    SEGMENTATION,
    Template {
        name: "empty",
        about: "one collection and one test, to grow from",
        files: &[IGNORED, (ROOT, include_str!("../templates/empty/flow.yaml"))],
        database: None,
        beside: None,
        next: &[],
    },
    Template {
        name: "http",
        about: "documents posted over HTTP, counted into a table",
        files: &[
            IGNORED,
            (ROOT, include_str!("../templates/http/flow.yaml")),
            ("flow.ts", include_str!("../templates/http/flow.ts")),
        ],
        database: Some("pages.db"),
        beside: None,
        next: &[
            (
                "curl localhost:8080/ingest/acme/views -H 'Content-Type: application/json' -d '{\"id\":\"a\",\"page\":\"/home\"}'",
                "posts a document",
            ),
            ("sqlite3 pages.db 'SELECT page, views FROM pages'", "how many views each page has had"),
        ],
    },
    Template {
        name: "file",
        about: "documents from a file as it grows, counted into a table",
        files: &[
            IGNORED,
            (ROOT, include_str!("../templates/file/flow.yaml")),
            ("flow.ts", include_str!("../templates/file/flow.ts")),
            ("views.ndjson", include_str!("../templates/file/views.ndjson")),
        ],
        database: Some("pages.db"),
        beside: None,
        next: &[
            ("echo '{\"id\":\"d\",\"page\":\"/home\"}' >> views.ndjson", "adds a document"),
            ("sqlite3 pages.db 'SELECT page, views FROM pages'", "how many views each page has had"),
        ],
    },
];

impl Template {
    /// Writes its files into a directory, each changed by `edit`. Files that are there stay as they are, unless `edit` changes
    /// what they would be.
    pub fn write(&self, directory: &Path, edit: impl Fn(&str) -> String) -> anyhow::Result<()> {
        for (name, text) in self.files {
            let edited = edit(text);
            if edited != *text || !directory.join(name).exists() {
                write(directory, name, &edited)?;
            }
        }
        Ok(())
    }
}

/// Writes a file below a directory.
pub fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    let parent = path.parent().unwrap_or(directory);
    std::fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}
