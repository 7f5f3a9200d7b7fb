//! Runs `tests/model.py`, which knows what a run of the flagship must leave behind and shares no code with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Postgres, Received};

use super::Project;

/// A finished run of a project, and where its results went.
pub(crate) struct Run<'a> {
    /// The project.
    pub(crate) project: &'a Project,
    /// The cluster that keeps its tables; without one they are in `segmentation.db`.
    pub(crate) postgres: Option<&'a Postgres>,
    /// What the webhook received.
    pub(crate) received: &'a [Received],
}

impl Run<'_> {
    /// Compares everything with the model and returns what it says; panics with its report if anything differs.
    pub(crate) fn check(&self) -> String {
        let log = self.project.path("webhook.log");
        write_log(&log, self.received);
        let mut model = Command::new("python3");
        model.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/model.py"));
        model.arg("--directory").arg(self.project.data()).arg("--webhook").arg(log);
        match self.postgres {
            None => model.arg("--sqlite").arg(self.project.path("segmentation.db")),
            Some(cluster) => model.env("PGPASSWORD", cluster.password()).arg("--psql").arg(conninfo(cluster)),
        };
        let output = model.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

fn conninfo(cluster: &Postgres) -> String {
    format!("host=127.0.0.1 port={} user={} dbname={}", cluster.port(), cluster.user(), cluster.user())
}

/// Writes requests as `segtide webhook --log` does: one JSON object {id, path, body} per line.
fn write_log(file: &Path, received: &[Received]) {
    let lines = received.iter().map(|request| {
        serde_json::json!({ "id": request.id(), "path": request.path, "body": request.body }).to_string() + "\n"
    });
    fs::write(file, lines.collect::<String>()).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "segment_memberships: 1 differences\n  cannot be read")]
    fn a_run_that_left_no_file_is_found_wrong() {
        Run { project: &Project::segmentation(), postgres: None, received: &[] }.check();
    }

    #[test]
    #[should_panic(expected = "segment_profiles: 1 differences\n  cannot be read: psql exited with 1")]
    fn a_run_that_left_no_table_is_found_wrong() {
        let (project, postgres) = (Project::segmentation(), Postgres::start());
        project.keep_tables_in(&postgres);
        Run { project: &project, postgres: Some(&postgres), received: &[] }.check();
    }
}
