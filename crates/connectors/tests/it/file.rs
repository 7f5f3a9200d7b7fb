//! Files that grow, are replaced, are packed, or are not where they should be.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use runtime::{Batch, ConnectorError, Fault, Progress, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::{builtin, capture, endpoint, read_all, texts};

fn open(dir: &Path, streams: &[&str], cursor: Option<&[u8]>, tail: bool) -> Result<Box<dyn Source>, ConnectorError> {
    let base = format!("file://{}/catalog.flow.yaml", dir.display());
    let endpoint = endpoint("source-file", &base, json!({"root": "data"}));
    let streams: Vec<_> = streams.iter().map(|stream| json!({"stream": stream})).collect();
    builtin().open_source(&capture(endpoint, &streams), cursor, tail)
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
fn each_line_once_however_often_it_restarts() {
    let text = numbered(20_000);
    assert!(text.len() > 3 * (256 << 10));
    let expected: Vec<&str> = text.lines().collect();
    for packed in [false, true] {
        let dir = dir(&[]);
        let name = if packed { "a.ndjson.gz" } else { "a.ndjson" };
        let bytes = if packed { gzip(&text) } else { text.clone().into_bytes() };
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
            assert!(batch.text.len() < 300 << 10);
            // What was read after the last commit is lost with the process, and read again.
            source.read(&mut Batch::default()).unwrap();
            documents.extend(texts(&batch));
            cursor = batch.cursor.or(cursor);
        }
        assert!(opened >= 4, "{opened}");
        assert!(documents.iter().eq(&expected), "{name}");
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
