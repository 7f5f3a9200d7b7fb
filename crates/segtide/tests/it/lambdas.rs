//! Catalog tests through the program: the examples of every era, and what only shows when derivations run together.

use std::path::Path;
use std::process::Command;

/// Runs the tests of a catalog; what was printed, and whether all passed.
fn test(catalog: &Path) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_segtide")).arg("test").arg("--source").arg(catalog).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (text, output.status.success())
}

#[test]
fn one_derivation_in_the_spellings_of_its_eras() {
    let eras = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/eras");
    for era in ["2021-03", "2021", "2022", "2023-typescript", "2023-sqlite"] {
        let (text, passed) = test(&eras.join(format!("{era}.flow.yaml")));
        assert!(passed && text.contains("2 passed, 0 failed"), "{era}: {text}");
    }
}

/// Catalogs of corners of the language, each with its tests: what they expect is what the language says.
#[test]
fn corners_of_the_language() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corners");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let catalogs: Vec<_> = paths.filter(|path| path.to_str().unwrap().ends_with(".flow.yaml")).collect();
    assert!(catalogs.len() >= 17, "{catalogs:?}");
    for catalog in catalogs {
        let (text, passed) = test(&catalog);
        assert!(passed, "{}: {text}", catalog.display());
    }
}

/// A cycle through a selector; two transforms whose documents must take turns; documents of `flush`; a state that is reset.
const TOGETHER: &str = r#"
collections:
  t/source:
    schema:
      type: object
      properties: { id: { type: integer }, kind: { type: string } }
      required: [id, kind]
    key: [/id]
  t/cycle:
    schema:
      type: object
      properties: { id: { type: integer }, n: { type: integer }, open: { type: string } }
      required: [id, n, open]
    key: [/id, /n]
    projections: { open: { location: /open, partition: true } }
    derive:
      using: { sqlite: { migrations: ["CREATE TABLE seen (id INTEGER, n INTEGER);"] } }
      transforms:
        - name: fromSource
          source: t/source
          shuffle: any
          lambda: SELECT $id, 1 AS n, 'yes' AS open;
        - name: fromSelf
          source: { name: t/cycle, partitions: { include: { open: ["yes"] } } }
          shuffle: any
          lambda: |
            INSERT INTO seen VALUES ($id, $n);
            SELECT $id, $n + 1 AS n, iif(count(*) < 3, 'yes', 'no') AS open FROM seen WHERE id = $id;
  t/turns:
    schema:
      type: object
      properties: { id: { type: integer }, by: { type: string }, n: { type: integer } }
      required: [id, by, n]
    key: [/id, /by]
    derive:
      using: { sqlite: { migrations: ["CREATE TABLE n (n INTEGER);", "INSERT INTO n VALUES (0);"] } }
      transforms:
        - { name: a, source: t/source, shuffle: any, lambda: "UPDATE n SET n = n + 1; SELECT $id, n, 'a' AS by FROM n;" }
        - { name: b, source: t/source, shuffle: any, lambda: "UPDATE n SET n = n + 1; SELECT $id, n, 'b' AS by FROM n;" }
  t/flushed:
    schema:
      type: object
      properties: { kind: { type: string }, n: { type: integer } }
      required: [kind, n]
    key: [/kind]
    derive:
      using:
        typescript:
          module: |
            import { Document, IDerivation, SourceFromSource } from 'flow/t/flushed.ts';
            export class Derivation extends IDerivation {
              counts = new Map<string, number>();
              fromSource(read: { doc: SourceFromSource }): Document[] {
                this.counts.set(read.doc.kind, (this.counts.get(read.doc.kind) ?? 0) + 1);
                return [];
              }
              async flush(): Promise<Document[]> {
                await null;
                return [...this.counts].map(([kind, n]) => ({ kind, n }));
              }
              async reset() { this.counts.clear(); }
            }
      transforms: [{ name: fromSource, source: t/source, shuffle: any }]
tests:
  t/first:
    - ingest: { collection: t/source, documents: [{ id: 1, kind: x }, { id: 2, kind: y }, { id: 3, kind: x }] }
    - verify:
        collection: t/cycle
        partitions: { include: { open: ["no"] } }
        documents: [{ id: 1, n: 4 }, { id: 2, n: 4 }, { id: 3, n: 4 }]
    - verify:
        collection: t/turns
        documents:
          - { id: 1, by: a, n: 1 }
          - { id: 1, by: b, n: 2 }
          - { id: 2, by: a, n: 3 }
          - { id: 2, by: b, n: 4 }
          - { id: 3, by: a, n: 5 }
          - { id: 3, by: b, n: 6 }
    - verify: { collection: t/flushed, documents: [{ kind: x, n: 2 }, { kind: y, n: 1 }] }
  t/second:
    - ingest: { collection: t/source, documents: [{ id: 1, kind: y }] }
    - verify: { collection: t/turns, documents: [{ id: 1, by: a, n: 1 }, { id: 1, by: b, n: 2 }] }
    - verify: { collection: t/flushed, documents: [{ kind: y, n: 1 }] }
    - ingest: { collection: t/source, documents: [{ id: 2, kind: y }] }
    - verify: { collection: t/flushed, documents: [{ kind: y, n: 2 }] }
"#;

#[test]
fn lambdas_with_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = directory.path().join("flow.yaml");
    std::fs::write(&catalog, TOGETHER).unwrap();
    let (text, passed) = test(&catalog);
    assert!(passed && text.contains("2 passed, 0 failed"), "{text}");
}

/// `check -v` of a catalog: its lambdas, and the first thing of each that is not native.
#[test]
fn check_tells_which_lambdas_are_native() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = "
collections:
  t/source: &schema
    schema: { type: object, properties: { id: { type: integer } }, required: [id] }
    key: [/id]
  t/derived:
    <<: *schema
    derivation:
      transform:
        all: { source: { name: t/source }, publish: { lambda: typescript } }
        odd: { source: { name: t/source }, publish: { lambda: typescript } }
";
    let module = "export class TDerived {
    allPublish(source: any) { return [source]; }
    oddPublish(source: any) {
        for (let id = 1; id < source.id; id += 2) {}
        return [];
    }
}
";
    std::fs::write(directory.path().join("derived.flow.yaml"), catalog).unwrap();
    std::fs::write(directory.path().join("derived.flow.ts"), module).unwrap();
    let source = directory.path().join("derived.flow.yaml");
    let output =
        Command::new(env!("CARGO_BIN_EXE_segtide")).args(["check", "-v", "--source"]).arg(&source).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(text.contains("t/derived.allPublish: native\n"), "{text}");
    assert!(text.contains("t/derived.oddPublish: in QuickJS, for a loop (derived.flow.ts:4)\n"), "{text}");
}
