//! Files that grow, are replaced, are packed, or are not where they should be.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use catalog::Collection;
use connectors::Builtin;
use doc::Types;
use flate2::Compression;
use flate2::write::GzEncoder;
use runtime::{Batch, ConnectorError, Fault, Progress, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{builtin, capture, collection, endpoint, read_all, texts};

fn open(dir: &Path, streams: &[&str], cursor: Option<&[u8]>, tail: bool) -> Result<Box<dyn Source>, ConnectorError> {
    let base = format!("file://{}/catalog.flow.yaml", dir.display());
    let endpoint = endpoint("source-file", &base, json!({"root": "data"}));
    let streams: Vec<_> = streams.iter().map(|stream| json!({"stream": stream})).collect();
    let collection = events();
    let collections: Vec<_> = streams.iter().map(|_| &collection).collect();
    builtin().open_source(&capture(endpoint, &streams), &collections, cursor, tail)
}

/// What rows may have columns for.
fn events() -> Collection {
    let fields = [
        ("id", "/id", Types::INTEGER, true, true),
        ("name", "/name", Types::STRING, false, false),
        ("at/x", "/at/x", Types::NUMBER, false, false),
        ("at", "/at", Types::OBJECT, false, false),
    ];
    collection("acme/events", &fields)
}

fn refused(result: Result<Box<dyn Source>, ConnectorError>) -> ConnectorError {
    match result {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    for (name, text) in files {
        put(&dir, name, text);
    }
    dir
}

fn put(dir: &TempDir, name: &str, text: &str) {
    let path = dir.path().join("data").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn add(dir: &TempDir, name: &str, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("data").join(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn zstandard(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("{{\"n\":{n},\"filler\":\"{}\"}}\n", "x".repeat(n % 97))).collect()
}

#[test]
fn lines_are_documents_with_places() {
    let dir =
        dir(&[("b.ndjson", "{\"b\":1}\r\n\n  \n{\"b\":2}\n{\"b\":3}"), ("a.ndjson", "{\"a\":1}\n"), ("c.txt", "no\n")]);
    let mut source = open(dir.path(), &["*.ndjson"], None, false).unwrap();
    let mut batch = Batch::default();
    while source.read(&mut batch).unwrap() == Progress::More {}
    assert_eq!(texts(&batch), [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"b":2}"#, r#"{"b":3}"#]);
    let places: Vec<_> = (0..4).map(|n| batch.place(n).unwrap()).collect();
    assert_eq!(places, ["a.ndjson:1", "b.ndjson:1", "b.ndjson:4", "b.ndjson:5"]);
    let (documents, ..) = read_all(&mut *open(dir.path(), &["*.ndjson"], batch.cursor.as_deref(), false).unwrap());
    assert!(documents.is_empty(), "everything was taken");
}

#[test]
fn each_document_once_however_often_it_restarts() {
    let text = numbered(20_000);
    assert!(text.len() > 3 * (256 << 10));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let array = format!("[{}]\n", lines.join(",\n  "));
    let rows: String = (0..60_000).map(|n| format!("{n},\"a\nb\",{n}.5\r\n")).collect();
    let rows = format!("id,name,at/x\r\n{rows}");
    let from_rows: Vec<String> =
        (0..60_000).map(|n| format!("{{\"at\":{{\"x\":{n}.5}},\"id\":{n},\"name\":\"a\\nb\"}}")).collect();
    for (name, bytes, expected) in [
        ("a.ndjson", text.clone().into_bytes(), &lines),
        ("a.ndjson.gz", gzip(&text), &lines),
        ("a.zst", zstandard(&text), &lines),
        ("a.json", array.clone().into_bytes(), &lines),
        ("a.json.zst", zstandard(&array), &lines),
        ("a.csv", rows.clone().into_bytes(), &from_rows),
        ("a.csv.gz", gzip(&rows), &from_rows),
    ] {
        let dir = dir(&[]);
        fs::write(dir.path().join("data").join(name), bytes).unwrap();
        let (mut documents, mut cursor, mut opened) = (Vec::new(), None::<Vec<u8>>, 0);
        loop {
            let mut source = open(dir.path(), &["a.*"], cursor.as_deref(), false).unwrap();
            let mut batch = Batch::default();
            let progress = source.read(&mut batch).unwrap();
            if progress == Progress::Done {
                break;
            }
            opened += 1;
            assert!(batch.text.len() < 600 << 10);
            // What was read after the last commit is lost with the process, and read again.
            source.read(&mut Batch::default()).unwrap();
            documents.extend(texts(&batch));
            cursor = batch.cursor.or(cursor);
        }
        assert!(opened >= 4, "{opened}");
        assert!(documents == *expected, "{name}");
    }
}

#[test]
fn a_file_may_grow_by_any_bytes() {
    let text = "{\"n\":1}\n\n{\"n\":\"zwei\"}\n{\"n\":3}\n";
    for cut in 0..=text.len() {
        let dir = dir(&[("a", &text[..cut])]);
        let mut source = open(dir.path(), &["a"], None, true).unwrap();
        let (mut documents, cursor, progress) = read_all(&mut *source);
        assert!(matches!(progress, Progress::Wait(_)));
        assert_eq!(
            documents.len(),
            text[..cut].lines().filter(|l| !l.is_empty()).count()
                - usize::from(!text[..cut].ends_with('\n') && !text[..cut].is_empty())
        );
        add(&dir, "a", &text[cut..]);
        let (again, ..) = read_all(&mut *open(dir.path(), &["a"], cursor.as_deref(), true).unwrap());
        let (rest, ..) = read_all(&mut *source);
        assert_eq!(again, rest, "cut at {cut}: a restart reads what the running source reads");
        documents.extend(rest);
        assert_eq!(documents, ["{\"n\":1}", "{\"n\":\"zwei\"}", "{\"n\":3}"], "cut at {cut}");
        assert!(read_all(&mut *source).0.is_empty());
    }
}

#[test]
fn every_format_may_grow_by_any_bytes() {
    let expected = [r#"{"id":1,"name":"a,]\"\n"}"#, r#"{"id":2,"name":"b"}"#, r#"{"id":3}"#];
    let csv = "\u{feff}id,name\r\n1,\"a,]\"\"\n\"\r\n\r\n2,b\r\n3\r\n";
    for (name, text) in [
        ("a.json", format!(" [{},\n\n {} ,{}]\n", expected[0], expected[1], expected[2])),
        ("a.json", format!("{}{}\n\n{}\n", expected[0], expected[1], expected[2])),
        ("a.json", format!("[{}] {}\n[\n]\n[{}]", expected[0], expected[1], expected[2])),
        ("a.csv", csv.to_owned()),
        ("a.tsv", csv.replace(',', "\t").replace("a\t", "a,")),
    ] {
        for cut in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            let dir = dir(&[]);
            let path = dir.path().join("data").join(name);
            fs::write(&path, before).unwrap();
            let mut source = open(dir.path(), &[name], None, true).unwrap();
            let (mut documents, cursor, progress) = read_all(&mut *source);
            assert!(matches!(progress, Progress::Wait(_)));
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(after).unwrap();
            let (again, ..) = read_all(&mut *open(dir.path(), &[name], cursor.as_deref(), true).unwrap());
            let (rest, ..) = read_all(&mut *source);
            assert_eq!(again, rest, "{name} cut at {cut}: a restart reads what the running source reads");
            documents.extend(rest);
            assert_eq!(documents, expected, "{name} cut at {cut}");
            assert!(read_all(&mut *source).0.is_empty());
        }
    }
}

#[test]
fn an_array_may_be_written_again_with_more_in_it() {
    let dir = dir(&[("a.json", "[\n  {\"n\":1}\n]\n")]);
    let mut source = open(dir.path(), &["a.json"], None, true).unwrap();
    assert_eq!(read_all(&mut *source).0, ["{\"n\":1}"]);
    put(&dir, "a.json", "[\n  {\"n\":1},\n  {\"n\":2}\n]\n");
    assert_eq!(read_all(&mut *source).0, ["{\"n\":2}"]);
}

#[test]
fn documents_that_cannot_be_used_have_a_reason_and_a_place() {
    let wrong = "id,name\n1,a\nx,b\n\n2,b,c\n\"3\n\",d\n4,\"cut";
    let broken = "[{\"n\":1},\nnull and void, {\"n\":2]}\n";
    let dir = dir(&[("a.csv", wrong), ("b.json", broken), ("c.csv", "")]);
    fs::write(dir.path().join("data/c.csv"), b"id,name\n4,\xff\n").unwrap();
    let mut source = open(dir.path(), &["*"], None, false).unwrap();
    let mut batch = Batch::default();
    while source.read(&mut batch).unwrap() == Progress::More {}
    let found: Vec<String> = texts(&batch)
        .into_iter()
        .enumerate()
        .map(|(n, text)| format!("{} {text:?} {}", batch.place(n).unwrap(), batch.refusal(n).unwrap_or("-")))
        .collect();
    let expected = [
        r#"a.csv:2 "{\"id\":1,\"name\":\"a\"}" -"#,
        r#"a.csv:3 "x,b" field "id": "x" is no integer"#,
        r#"a.csv:5 "2,b,c" row has 3 columns, but header had only 2"#,
        r#"a.csv:6 "3\n,d" field "id": "3\n" is no integer"#,
        r#"a.csv:8 "4,cut" a quote is not closed"#,
        r#"b.json:1 "{\"n\":1}" -"#,
        r#"b.json:2 "null" -"#,
        r#"b.json:2 "and" -"#,
        r#"b.json:2 "void" -"#,
        r#"b.json:2 "{\"n\":2]" -"#,
        r#"b.json:2 "}" -"#,
        "c.csv:2 \"4,\u{fffd}\" the row is not UTF-8",
    ];
    assert_eq!(found, expected);

    for (text, reason) in [
        ("id,nome\n1,a\n", "a.csv: collection \"acme/events\" has no projection \"nome\""),
        ("name\na\n", "a.csv: header does not include any field that maps to the location \"/id\""),
    ] {
        let dir = self::dir(&[("a.csv", text)]);
        let error = open(dir.path(), &["a.csv"], None, false).unwrap().read(&mut Batch::default()).unwrap_err();
        assert_eq!((error.message.as_str(), error.fault), (reason, Fault::User));
    }
}

#[test]
fn a_binding_may_say_the_format() {
    let dir = dir(&[("a.txt", "id\n7\n")]);
    let base = format!("file://{}/catalog.flow.yaml", dir.path().display());
    let endpoint = endpoint("source-file", &base, json!({"root": "data", "follow": false}));
    let capture = capture(endpoint, &[json!({"stream": "*.txt", "format": "csv"})]);
    let mut source = builtin().open_source(&capture, &[&events()], None, true).unwrap();
    let (documents, _, progress) = read_all(&mut *source);
    assert_eq!((documents, progress), (vec!["{\"id\":7}".to_owned()], Progress::Done), "files are not followed");
}

#[test]
fn what_waits_to_be_read_is_known() {
    let text = numbered(20_000);
    let dir = dir(&[("a.ndjson", &text), ("b.ndjson", "{}\n")]);
    fs::write(dir.path().join("data/c.ndjson.gz"), gzip(&text)).unwrap();
    let mut source = open(dir.path(), &["*"], None, false).unwrap();
    let sizes =
        ["a.ndjson", "b.ndjson", "c.ndjson.gz"].map(|n| fs::metadata(dir.path().join("data").join(n)).unwrap().len());
    let mut waiting = source.remaining_bytes().unwrap();
    assert_eq!(waiting, sizes.iter().sum::<u64>());
    while source.read(&mut Batch::default()).unwrap() == Progress::More {
        let now = source.remaining_bytes().unwrap();
        assert!(now <= waiting);
        waiting = now;
    }
    assert_eq!(waiting, 0);
}

/// What is given to the process as its standard input, and a source that reads it.
fn standard_input(builtin: &Builtin, cursor: Option<&[u8]>, tail: bool) -> Result<Box<dyn Source>, ConnectorError> {
    let endpoint = endpoint("source-file", "file:///tmp/catalog.flow.yaml", json!({}));
    builtin.open_source(&capture(endpoint, &[json!({"stream": "-"})]), &[&events()], cursor, tail)
}

#[test]
fn a_file_as_standard_input_is_read_on_where_it_was() {
    let dir = dir(&[("a", "{\"n\":1}\n{\"n\":2}\n")]);
    let given = || builtin().with_input(fs::File::open(dir.path().join("data/a")).unwrap());
    let (documents, cursor, progress) = read_all(&mut *standard_input(&given(), None, false).unwrap());
    assert_eq!((documents.len(), progress), (2, Progress::Done));
    add(&dir, "a", "{\"n\":3}\n");
    let (documents, ..) = read_all(&mut *standard_input(&given(), cursor.as_deref(), false).unwrap());
    assert_eq!(documents, ["{\"n\":3}"]);
}

#[test]
fn a_pipe_is_read_again_from_what_was_committed() {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    let builtin = builtin().with_input(fs::File::from(OwnedFd::from(reader)));
    let read = |source: &mut Box<dyn Source>| loop {
        let mut batch = Batch::default();
        source.read(&mut batch).unwrap();
        if !batch.documents.is_empty() {
            return (texts(&batch), batch.cursor);
        }
    };
    let mut source = standard_input(&builtin, None, true).unwrap();
    writer.write_all(b"{\"n\":1}\n{\"n\":2").unwrap();
    let (documents, cursor) = read(&mut source);
    assert_eq!(documents, ["{\"n\":1}"]);
    source.committed(&cursor.unwrap());
    writer.write_all(b"}\n").unwrap();
    let (documents, cursor) = read(&mut source);
    assert_eq!(documents, ["{\"n\":2}"]);
    // It was not committed, and the task starts again.
    drop(source);
    let cursor = cursor.unwrap();
    let first: Value = serde_json::from_slice(&cursor).unwrap();
    let mut rewound = first.clone();
    rewound["streams"]["-"][0]["offset"] = json!(8);
    let mut source = standard_input(&builtin, Some(rewound.to_string().as_bytes()), true).unwrap();
    assert_eq!(read(&mut source).0, ["{\"n\":2}"]);
    writer.write_all(b"{\"n\":3}").unwrap();
    drop(writer);
    assert_eq!(read(&mut source).0, ["{\"n\":3}"], "a pipe that ended has no more to wait for");

    let error = refused(builtin_of_another(&builtin));
    assert!(error.message.contains("acme/capture already; only one capture"), "{error}");
    let again =
        standard_input(&Builtin::new(|| 0).with_input(fs::File::open("/dev/null").unwrap()), Some(&cursor), false);
    assert!(read_all(&mut *again.unwrap()).0.is_empty(), "another process has another pipe");
}

fn builtin_of_another(builtin: &Builtin) -> Result<Box<dyn Source>, ConnectorError> {
    let endpoint = endpoint("source-file", "file:///tmp/catalog.flow.yaml", json!({}));
    let mut other = capture(endpoint, &[json!({"stream": "-"})]);
    other.name = "acme/other".into();
    builtin.open_source(&other, &[&events()], None, true)
}

#[test]
fn a_packed_file_may_be_unfinished() {
    let text = numbered(3000);
    let packed = gzip(&text);
    let dir = dir(&[]);
    let path = dir.path().join("data/a.gz");
    let mut documents = Vec::new();
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let mut source = open(dir.path(), &["a.gz"], None, true).unwrap();
    documents.extend(read_all(&mut *source).0);
    assert!(documents.len() < 3000);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&packed[packed.len() / 2..]).unwrap();
    documents.extend(read_all(&mut *source).0);
    file.write_all(&gzip("{\"member\":2}\n")).unwrap();
    documents.extend(read_all(&mut *source).0);
    assert!(documents.iter().map(String::as_str).eq(text.lines().chain(["{\"member\":2}"])));

    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let mut source = open(dir.path(), &["a.gz"], None, false).unwrap();
    let error = loop {
        match source.read(&mut Batch::default()) {
            Ok(progress) => assert_eq!(progress, Progress::More),
            Err(error) => break error,
        }
    };
    assert_eq!(error.fault, Fault::Endpoint, "a file that is finished and ends in the middle");
}

#[test]
fn a_last_line_is_taken_when_nothing_more_comes() {
    let dir = dir(&[("a", "{\"n\":1}\n{\"n\":2}")]);
    let (documents, cursor, _) = read_all(&mut *open(dir.path(), &["a"], None, true).unwrap());
    assert_eq!(documents, ["{\"n\":1}"]);
    let (documents, cursor, _) = read_all(&mut *open(dir.path(), &["a"], cursor.as_deref(), false).unwrap());
    assert_eq!(documents, ["{\"n\":2}"]);
    assert!(read_all(&mut *open(dir.path(), &["a"], cursor.as_deref(), false).unwrap()).0.is_empty());
}

#[test]
fn files_are_known_by_what_they_are() {
    let dir = dir(&[("log.1", "{\"n\":1}\n{\"n\":2}\n"), ("log.2", "{\"m\":1}\n")]);
    let data = dir.path().join("data");
    let mut source = open(dir.path(), &["log.*"], None, true).unwrap();
    assert_eq!(read_all(&mut *source).0.len(), 3);

    fs::rename(data.join("log.1"), data.join("log.0")).unwrap();
    assert!(read_all(&mut *source).0.is_empty(), "a renamed file is the same file");

    put(&dir, "log.0", "{\"n\":3}\n");
    assert_eq!(read_all(&mut *source).0, ["{\"n\":3}"], "a file cut short is a new file");

    put(&dir, "new", "{\"m\":2}\n{\"m\":3}\n");
    fs::rename(data.join("new"), data.join("log.2")).unwrap();
    assert_eq!(read_all(&mut *source).0, ["{\"m\":2}", "{\"m\":3}"], "a replaced file is a new file");

    fs::write(data.join("log.2"), "{\"m\":8}\n{\"m\":9}\n{\"m\":7}\n").unwrap();
    let error = source.read(&mut Batch::default()).unwrap_err();
    assert!(error.message.contains("log.2 was edited in place"), "{error}");
}

#[test]
fn directories_are_walked_and_not_left() {
    let dir = dir(&[("a/b/x.json", "1\n"), ("a/x.json", "2\n"), (".git/x.json", "3\n"), ("x.json", "4\n")]);
    put(&dir, "../outside.json", "5\n");
    let data = dir.path().join("data");
    std::os::unix::fs::symlink("../outside.json", data.join("out.json")).unwrap();
    std::os::unix::fs::symlink("..", data.join("up")).unwrap();
    std::os::unix::fs::symlink("a/x.json", data.join("inside")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", data.join("zero.json")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(data.join("pipe.json")).status().unwrap();
    assert!(made.success());
    let read = |stream: &str| open(dir.path(), &[stream], None, false).map(|mut source| read_all(&mut *source).0);
    assert_eq!(read("**/*.json").unwrap(), ["1", "2", "4"]);
    assert_eq!(read("a/**").unwrap(), ["1", "2"]);
    assert_eq!(read("inside").unwrap(), ["2"]);
    for (stream, reason) in [
        ("out.json", "leads out of the root"),
        ("up/outside.json", "leads out of the root"),
        ("zero.json", "leads out of the root"),
        ("pipe.json", "not a regular file"),
        ("a", "not a regular file"),
        ("missing.json", "cannot be read"),
        ("../outside.json", "names nothing below the root"),
    ] {
        let error = read(stream).unwrap_err();
        assert!(error.message.contains(reason) && error.fault == Fault::User, "{stream}: {error}");
    }
}

#[test]
fn streams_are_bindings() {
    let dir = dir(&[("a", "1\n"), ("b", "2\n")]);
    let mut source = open(dir.path(), &["b", "a"], None, false).unwrap();
    let mut batch = Batch::default();
    while source.read(&mut batch).unwrap() == Progress::More {}
    let bindings: Vec<usize> = batch.documents.iter().map(|(binding, _)| *binding).collect();
    assert_eq!((texts(&batch), bindings), (vec!["2".to_owned(), "1".to_owned()], vec![0, 1]));
    // The cursor goes by the stream, not by its place in the catalog.
    assert!(read_all(&mut *open(dir.path(), &["a", "b"], batch.cursor.as_deref(), false).unwrap()).0.is_empty());
}

#[test]
fn a_root_must_exist_and_lines_must_end() {
    let dir = dir(&[]);
    fs::remove_dir(dir.path().join("data")).unwrap();
    let error = refused(open(dir.path(), &["*"], None, true));
    assert!(error.message.contains("data cannot be read"), "{error}");

    fs::create_dir(dir.path().join("data")).unwrap();
    put(&dir, "long", &"x".repeat(17 << 20));
    let mut source = open(dir.path(), &["long"], None, true).unwrap();
    let error = loop {
        match source.read(&mut Batch::default()) {
            Ok(progress) => assert_eq!(progress, Progress::More),
            Err(error) => break error,
        }
    };
    assert!(error.message.contains("long:1 is longer than"), "{error}");
}
