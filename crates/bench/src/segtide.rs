//! Segtide as it is measured: the release binary, over the segmentation example with another capture and other tables.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

/// The tables of every run: memberships, profiles, toggles.
pub(crate) const TABLES: [&str; 3] = ["segment_memberships", "segment_profiles", "segment_toggles"];

/// The collections they are filled from, in the same order.
const COLLECTIONS: [&str; 3] =
    ["examples/segment/memberships", "examples/segment/profiles", "examples/segment/toggles"];

/// The SQLite database of a run, in its directory.
pub(crate) const DATABASE: &str = "segmentation.db";

/// Which program is measured, and how it is told to work.
#[derive(Debug, Clone, Args)]
pub(crate) struct Binary {
    /// Measure this program instead of building the release
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Run all lambdas in the script engine
    #[arg(long)]
    no_native_lambdas: bool,
}

impl Binary {
    /// Builds the release, unless told which program to take.
    pub(crate) fn build(&self) -> anyhow::Result<Program> {
        let path = match &self.binary {
            Some(path) => path.canonicalize().with_context(|| format!("{} cannot be run", path.display()))?,
            None => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let built = Command::new(cargo)
                    .args(["build", "--quiet", "--release", "--package", "segtide"])
                    .current_dir(root())
                    .status();
                ensure!(built.context("cargo cannot be run")?.success(), "segtide cannot be built");
                let own = std::env::current_exe()?;
                let path = own.with_file_name("segtide");
                ensure!(path.is_file(), "{} is missing; run bench with --release", path.display());
                path
            }
        };
        let flags = if self.no_native_lambdas { vec!["--no-native-lambdas"] } else { Vec::new() };
        Ok(Program { path, flags })
    }
}

/// A program that can be started.
pub(crate) struct Program {
    path: PathBuf,
    flags: Vec<&'static str>,
}

impl Program {
    /// `segtide develop` of the catalog in a directory, silent unless it fails.
    pub(crate) fn develop(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["develop", "--source", "bench.flow.yaml", "--port", "0"]).args(&self.flags);
        command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
        for name in ["SEGTIDE_SOURCE", "SEGTIDE_PORT", "SEGTIDE_DIRECTORY"] {
            command.env_remove(name);
        }
        command
    }

    /// The same, left running; with the port that it listens on.
    pub(crate) fn serve(&self, directory: &Path) -> anyhow::Result<(Running, u16)> {
        let mut child = self.develop(directory).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("its output is read")?);
        let running = Running(child);
        let mut line = String::new();
        while !line.contains("Listening at") {
            line.clear();
            ensure!(output.read_line(&mut line)? > 0, "segtide ended before it listened");
        }
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Ok((running, port.with_context(|| format!("no port in {line:?}"))?))
    }
}

/// A program that runs; dropping it kills it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Where a catalog's tables and requests go.
#[derive(Default)]
pub(crate) struct Destinations<'a> {
    /// To this PostgreSQL instead of SQLite.
    pub(crate) postgres: Option<&'a testkit::Postgres>,
    /// Toggles also to this address.
    pub(crate) webhook: Option<String>,
}

/// Writes a catalog into a directory: the segmentation example, with events from a file where one is given, and from nowhere
/// but HTTP otherwise.
pub(crate) fn write_catalog(
    directory: &Path,
    events: Option<&Path>,
    destinations: &Destinations<'_>,
) -> anyhow::Result<()> {
    let example = root().join("examples/segmentation");
    fs::create_dir_all(directory.join("schemas"))?;
    for name in ["derive.flow.yaml", "derive.flow.ts", "schemas/event.schema.yaml", "schemas/derived.schema.yaml"] {
        fs::copy(example.join(name), directory.join(name)).with_context(|| format!("{name} of the example"))?;
    }
    let collection = json!({
        "schema": "schemas/event.schema.yaml",
        "key": ["/event"],
        "projections": { "vendor": { "location": "/segment/vendor", "partition": true } },
    });
    let mut capture = json!({ "collections": { "examples/segment/events": collection } });
    if let Some(events) = events {
        let folder = events.parent().context("a file is in a directory")?;
        let name = events.file_name().context("a file has a name")?.to_string_lossy();
        capture["captures"] = json!({ "examples/segment/events": {
            "endpoint": { "airbyteSource": { "image": "segtide/source-file:v1", "config": { "root": folder } } },
            "bindings": [{ "resource": { "stream": name }, "target": "examples/segment/events" }],
        }});
    }
    // The example's derivations import this name. JSON is YAML.
    write(directory, "capture.flow.yaml", &capture)?;

    let bindings: Vec<Value> = COLLECTIONS.iter().zip(TABLES).map(|(source, table)| binding(source, table)).collect();
    let endpoint = match destinations.postgres {
        None => json!({ "sqlite": { "path": DATABASE } }),
        Some(server) => json!({ "flowSink": { "image": "segtide/materialize-postgres:v1", "config": {
            "host": "127.0.0.1",
            "port": server.port(),
            "user": server.user(),
            "password": server.password(),
            "database": server.user(),
        }}}),
    };
    let mut materializations = json!({ "bench/tables": { "endpoint": endpoint, "bindings": bindings } });
    if let Some(address) = &destinations.webhook {
        materializations["bench/webhook"] = json!({
            "endpoint": { "flowSink": { "image": "segtide/materialize-webhook:v1", "config": { "address": address } } },
            "bindings": [{ "resource": { "relativePath": "/toggles" }, "source": COLLECTIONS[2] }],
        });
    }
    let whole = json!({ "import": ["derive.flow.yaml"], "materializations": materializations });
    write(directory, "bench.flow.yaml", &whole)
}

fn binding(source: &str, table: &str) -> Value {
    let mut binding = json!({ "resource": { "table": table }, "source": source });
    if source == COLLECTIONS[1] {
        binding["fields"] = json!({ "recommended": true, "include": { "segments": {} } });
    }
    binding
}

fn write(directory: &Path, name: &str, value: &Value) -> anyhow::Result<()> {
    Ok(fs::write(directory.join(name), serde_json::to_string_pretty(value)?)?)
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("this crate is two directories below the root").to_owned()
}
