//! A copy of the flagship example in a temporary directory, changed as a test needs it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use testkit::Postgres;

/// A user's directory: catalog files, and what a run leaves there.
pub(crate) struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    /// A copy of `examples/segmentation`.
    pub(crate) fn segmentation() -> Self {
        let directory = tempfile::Builder::new().prefix("segtide-project-").tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/segmentation");
        copy(&example, directory.path());
        Self { directory }
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where `develop` keeps what it knows.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("segtide_develop")
    }

    /// Replaces a piece of a file that stands in it exactly once.
    pub(crate) fn patch(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} must stand once in {file}");
        fs::write(self.path(file), text.replace(from, to)).unwrap();
    }

    /// Sends toggles to this address.
    pub(crate) fn send_toggles_to(&self, address: &str) {
        self.patch("materialize-webhook.flow.yaml", "http://localhost:9000/", address);
    }

    /// Keeps the tables in this cluster, when run by `materialize-postgres.flow.yaml`.
    pub(crate) fn keep_tables_in(&self, postgres: &Postgres) {
        let file = "materialize-postgres.flow.yaml";
        self.patch(file, "host: localhost", "host: 127.0.0.1");
        self.patch(file, "port: 5432", &format!("port: {}", postgres.port()));
        self.patch(file, "user: postgres", &format!("user: {}", postgres.user()));
        self.patch(file, "password: postgres", &format!("password: {}", postgres.password()));
        self.patch(file, "database: postgres", &format!("database: {}", postgres.user()));
    }

    /// Captures nothing: documents come by HTTP only.
    pub(crate) fn capture_nothing(&self) {
        let file = "capture.flow.yaml";
        let text = fs::read_to_string(self.path(file)).unwrap();
        let (collections, _) = text.split_once("captures:").unwrap();
        fs::write(self.path(file), collections).unwrap();
    }

    /// Captures the lines of `events.ndjson` in the project instead of generating events.
    pub(crate) fn capture_from_file(&self) {
        self.capture_nothing();
        let capture = "\
captures:
  examples/segment/events:
    endpoint:
      airbyteSource:
        image: segtide/source-file:v1
        config: { root: . }
    bindings:
      - resource: { stream: events.ndjson, syncMode: incremental }
        target: examples/segment/events
";
        let mut file = fs::OpenOptions::new().append(true).open(self.path("capture.flow.yaml")).unwrap();
        file.write_all(capture.as_bytes()).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            // What a run of the example in place leaves behind stays there.
            if entry.file_name() != "segtide_develop" {
                fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            }
        } else if !entry.file_name().to_string_lossy().contains(".db") {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole_and_takes_patches() {
        let project = Project::segmentation();
        assert!(project.path("schemas/event.schema.yaml").exists());
        assert!(!project.data().exists());

        project.send_toggles_to("http://127.0.0.1:1234/");
        project.capture_from_file();
        let capture = fs::read_to_string(project.path("capture.flow.yaml")).unwrap();
        assert!(capture.contains("key: [/event]") && capture.contains("source-file"));
        assert!(!capture.contains("event-generator"));
    }

    #[test]
    #[should_panic(expected = "must stand once")]
    fn a_patch_that_does_not_fit_is_an_error() {
        Project::segmentation().patch("tests.flow.yaml", "alice", "eve");
    }
}
