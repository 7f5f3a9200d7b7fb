//! What `init` writes around a catalog: for editors, for containers, and for GitHub's machines.

use serde_json::json;

use crate::templates::Template;

/// Files that say the same whatever the catalog is: paths and texts.
const SAME: [(&str, &str); 4] = [
    // Written anew by `segtide schema` once there is a newer program.
    (SCHEMA, catalog::SCHEMA),
    (".vscode/extensions.json", include_str!("../templates/around/extensions.json")),
    (".devcontainer/devcontainer.json", include_str!("../templates/around/devcontainer.json")),
    (".github/workflows/segtide.yml", include_str!("../templates/around/workflow.yml")),
];
const SCHEMA: &str = ".vscode/catalog.schema.json";

/// The files around a catalog: paths and texts.
pub fn files(template: &Template) -> Vec<(&'static str, String)> {
    let same = SAME.into_iter().map(|(name, text)| (name, text.to_owned()));
    same.chain([(".vscode/settings.json", settings(template.database))]).collect()
}

/// What an editor has to know: which files are catalogs, and where the tables are.
fn settings(database: Option<&str>) -> String {
    let mut settings = json!({ "yaml.schemas": { format!("./{SCHEMA}"): ["flow.yaml", "*.flow.yaml"] } });
    if let Some(file) = database {
        let file = format!("${{workspaceFolder}}/{file}");
        settings["sqltools.connections"] = json!([{ "name": "tables", "driver": "SQLite", "database": file }]);
    }
    format!("{settings:#}\n")
}
