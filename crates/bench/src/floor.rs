//! The floor: the segmentation job by a program that does nothing else. One thread, one pass, typed structs, hash tables.
//!
//! It keeps what it must to the letter of the job and no more: it validates nothing, keeps no journals, survives no crash
//! and shows nothing before its end, but for toggles. It is meant to be good: text is borrowed where it can be, each table is
//! asked once for each event, output is buffered.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};

const BUFFER_BYTES: usize = 1 << 20;

/// Where memberships go.
pub(crate) const MEMBERSHIPS: &str = "memberships.jsonl";
/// Where profiles go.
pub(crate) const PROFILES: &str = "profiles.jsonl";
/// Where toggles go.
pub(crate) const TOGGLES: &str = "toggles.jsonl";

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    segment: Segment<'a>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(default)]
    remove: bool,
}

#[derive(Deserialize, Serialize)]
struct Segment<'a> {
    vendor: u64,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// How a user stands to a segment, with the last event that said so.
struct Membership {
    segment: u32,
    member: bool,
    added: bool,
    first: Option<Box<str>>,
    last: Box<str>,
    value: Option<Box<str>>,
    event: Box<str>,
}

#[derive(Serialize)]
struct ProfileLine<'a> {
    user: &'a str,
    segments: &'a [Detail<'a>],
}

#[derive(Serialize)]
struct Detail<'a> {
    /// In a membership; a profile says it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    segment: Segment<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<&'a str>,
    last: &'a str,
    member: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

/// Segments by number, and their numbers.
#[derive(Default)]
struct Segments {
    all: Vec<(u64, Box<str>)>,
    vendors: HashMap<u64, HashMap<Box<str>, u32>>,
}

impl Segments {
    fn number(&mut self, segment: &Segment<'_>) -> u32 {
        let names = self.vendors.entry(segment.vendor).or_default();
        if let Some(number) = names.get(&*segment.name) {
            return *number;
        }
        let number = self.all.len() as u32;
        names.insert((*segment.name).into(), number);
        self.all.push((segment.vendor, (*segment.name).into()));
        number
    }
}

/// Reads a file of events and writes memberships, profiles and toggles into a directory.
pub(crate) fn run(events: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    let file = File::open(events).with_context(|| format!("{} cannot be read", events.display()))?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut toggles = create(into, TOGGLES)?;
    let mut segments = Segments::default();
    // Memberships of a user are kept in the order of a profile.
    let mut users: HashMap<Box<str>, Vec<Membership>> = HashMap::new();
    let mut text = String::new();
    while input.read_line(&mut text)? > 0 {
        let line = text.trim_end_matches('\n');
        let event: Event<'_> = serde_json::from_str(line)?;
        let segment = segments.number(&event.segment);
        if !users.contains_key(&*event.user) {
            users.insert((*event.user).into(), Vec::new());
        }
        let memberships = users.get_mut(&*event.user).expect("it was put in");
        let place = (&*event.segment.name, event.segment.vendor);
        let found = memberships.binary_search_by(|membership| {
            let (vendor, name) = &segments.all[membership.segment as usize];
            (&**name, *vendor).cmp(&place)
        });
        match found {
            Ok(at) => {
                let known = &mut memberships[at];
                if known.added && known.member == event.remove {
                    toggles.write_all(&line.as_bytes()[..line.len() - 1])?;
                    toggles.write_all(b",\"previous\":")?;
                    toggles.write_all(known.event.as_bytes())?;
                    toggles.write_all(b"}\n")?;
                }
                known.take(&event, line);
            }
            Err(at) => {
                let mut new = Membership {
                    segment,
                    member: false,
                    added: false,
                    first: None,
                    last: "".into(),
                    value: None,
                    event: "".into(),
                };
                new.take(&event, line);
                memberships.insert(at, new);
            }
        }
        text.clear();
    }
    toggles.flush()?;
    write_tables(&segments, &users, into)
}

impl Membership {
    fn take(&mut self, event: &Event<'_>, line: &str) {
        self.member = !event.remove;
        if *event.timestamp > *self.last {
            self.last = (*event.timestamp).into();
        }
        if !event.remove {
            self.added = true;
            if self.first.as_ref().is_none_or(|first| *event.timestamp < **first) {
                self.first = Some((*event.timestamp).into());
            }
            if let Some(value) = &event.value {
                self.value = Some((**value).into());
            }
        }
        self.event = line.into();
    }

    fn detail<'a>(&'a self, user: Option<&'a str>, segments: &'a Segments) -> Detail<'a> {
        let (vendor, name) = &segments.all[self.segment as usize];
        Detail {
            user,
            segment: Segment { vendor: *vendor, name: Cow::Borrowed(name) },
            first: self.first.as_deref(),
            last: &self.last,
            member: self.member,
            value: self.value.as_deref(),
        }
    }
}

fn write_tables(segments: &Segments, users: &HashMap<Box<str>, Vec<Membership>>, into: &Path) -> anyhow::Result<()> {
    let mut memberships = create(into, MEMBERSHIPS)?;
    let mut profiles = create(into, PROFILES)?;
    for (user, known) in users {
        for membership in known {
            serde_json::to_writer(&mut memberships, &membership.detail(Some(user), segments))?;
            memberships.write_all(b"\n")?;
        }
        let details: Vec<Detail<'_>> = known.iter().map(|membership| membership.detail(None, segments)).collect();
        serde_json::to_writer(&mut profiles, &ProfileLine { user, segments: &details })?;
        profiles.write_all(b"\n")?;
    }
    memberships.flush()?;
    Ok(profiles.flush()?)
}

fn create(into: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(BUFFER_BYTES, File::create(into.join(name))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_events() {
        let directory = tempfile::tempdir().unwrap();
        let events = directory.path().join("events.jsonl");
        let event = |n: u32, user: &str, vendor: u32, rest: &str| {
            format!(
                r#"{{"event":"e{n}","timestamp":"T{n}","user":"{user}","segment":{{"vendor":{vendor},"name":"s"}}{rest}}}"#
            )
        };
        let lines = [
            event(1, "a", 2, r#","remove":true"#),
            event(2, "a", 2, r#","value":"v""#),
            event(3, "a", 1, ""),
            event(4, "a", 2, r#","remove":true"#),
            event(5, "a", 2, r#","remove":true"#),
            event(6, "a", 1, ""),
        ];
        fs::write(&events, lines.join("\n")).unwrap();
        run(&events, directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let one = r#""segment":{"vendor":1,"name":"s"},"first":"T3","last":"T6","member":true"#;
        let two = r#""segment":{"vendor":2,"name":"s"},"first":"T2","last":"T5","member":false,"value":"v""#;
        assert_eq!(read(MEMBERSHIPS), format!("{{\"user\":\"a\",{one}}}\n{{\"user\":\"a\",{two}}}\n"));
        assert_eq!(read(PROFILES), format!("{{\"user\":\"a\",\"segments\":[{{{one}}},{{{two}}}]}}\n"));
        let toggle = lines[3].strip_suffix('}').unwrap();
        assert_eq!(read(TOGGLES), format!("{toggle},\"previous\":{}}}\n", lines[1]));
    }
}
