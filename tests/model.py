#!/usr/bin/env python3
"""Checks a run of examples/segmentation against a model that shares nothing with the runtime but the events.

The model reads the events from their fragment files, works out memberships, profiles and toggles in the plainest way there
is, and compares them with what the run left behind:

  * tables, row by row, in a SQLite file (--sqlite) or a PostgreSQL database (--psql, read through the psql program);
  * the fragments of the toggles: each toggle exactly once, with the right `previous`;
  * the log of a webhook (--webhook): one JSON object {id, path, body} per line, a line per request received. Each toggle at
    least once, and the same body whenever an id comes again.

It prints what it compared and how that differs, and exits with 1 if anything does. Python 3.8 or later, nothing else.
"""

import argparse
import csv
import gzip
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from pathlib import Path

EVENTS = "examples/segment/events"
TOGGLES = "examples/segment/toggles"
TABLES = {
    "segment_memberships": (
        ["vendor", "segment_name", "user_id"],
        ["vendor", "segment_name", "user_id", "first", "last", "member", "value", "flow_document"],
    ),
    "segment_profiles": (["user_id"], ["user_id", "segments", "flow_document"]),
}
FRAGMENT = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{40})\.gz")
DATE, HOUR = re.compile(r"utc_date=\d{4}-\d\d-\d\d"), re.compile(r"utc_hour=\d\d")
SHOWN_MAX = 10


class Findings:
    """Differences, by what was compared; the first few of each are printed."""

    def __init__(self):
        self.found = defaultdict(list)

    def add(self, subject, message):
        self.found[subject].append(message)

    def total(self):
        return sum(len(messages) for messages in self.found.values())

    def text(self):
        lines = []
        for subject, messages in self.found.items():
            lines.append(f"{subject}: {len(messages)} differences")
            lines += [f"  {message}" for message in messages[:SHOWN_MAX]]
            if len(messages) > SHOWN_MAX:
                lines.append(f"  and {len(messages) - SHOWN_MAX} more")
        return "\n".join(lines)


def canonical(value):
    """A text that two JSON values share exactly if they are equal: 1, 1.0 and true stay apart."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def without_meta(document):
    return {name: value for name, value in document.items() if name != "_meta"}


# ---------------------------------------------------------------------------------------------------------------------
# Fragments


def read_collection(root, collection, findings):
    """Documents of a collection as {journal: [document, ...]}, each journal in the order of its offsets."""
    folder = root / "fragments" / collection
    journals = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        parts = path.relative_to(folder).parts
        name = FRAGMENT.fullmatch(parts[-1])
        if not name or len(parts) < 4 or not DATE.fullmatch(parts[-3]) or not HOUR.fullmatch(parts[-2]):
            findings.add(collection, f"{path} is not named as a fragment is")
            continue
        begin, end = int(name[1], 16), int(name[2], 16)
        journals["/".join(parts[:-3])].append((begin, end, name[3], path))

    documents, uuids = {}, set()
    for journal, fragments in sorted(journals.items()):
        documents[journal] = []
        position = 0
        for begin, end, digest, path in sorted(fragments):
            if begin != position:
                findings.add(collection, f"{path} begins at {begin}, the fragment before it ends at {position}")
            position = end
            try:
                content = gzip.decompress(path.read_bytes())
            except (OSError, EOFError, ValueError) as error:
                findings.add(collection, f"{path} cannot be decompressed: {error}")
                continue
            if len(content) != end - begin:
                findings.add(collection, f"{path} holds {len(content)} bytes, its name says {end - begin}")
            if hashlib.sha1(content).hexdigest() != digest:
                findings.add(collection, f"{path} does not have the SHA-1 of its name")
            if not content.endswith(b"\n"):
                findings.add(collection, f"{path} ends in the middle of a line")
            for number, line in enumerate(content.rstrip(b"\n").split(b"\n"), 1):
                try:
                    document = json.loads(line)
                    identity = document["_meta"]["uuid"]
                    if uuid.UUID(identity).version != 1:
                        findings.add(collection, f"{path}, line {number}: {identity} is not a version 1 UUID")
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    findings.add(collection, f"{path}, line {number} is no document with a UUID: {error!r}")
                    continue
                if identity in uuids:
                    findings.add(collection, f"{path}, line {number}: UUID {identity} occurs twice")
                uuids.add(identity)
                documents[journal].append(document)
    return documents


# ---------------------------------------------------------------------------------------------------------------------
# The model


def place_of(event):
    """The membership that an event is about. All its events are of one vendor, so in one journal, so in order."""
    return event["segment"]["vendor"], event["segment"]["name"], event["user"]


def memberships_of(events):
    """{(vendor, segment name, user): membership}"""
    memberships = {}
    for event in events:
        membership = memberships.setdefault(place_of(event), {"user": event["user"]})
        at = event["timestamp"]
        membership["segment"] = event["segment"]
        membership["last"] = max(membership.get("last", at), at)
        membership["member"] = "remove" not in event
        if "remove" not in event:
            membership["first"] = min(membership.get("first", at), at)
            if "value" in event:
                membership["value"] = event["value"]
    return memberships


def profiles_of(memberships):
    """{user: profile}"""
    details = defaultdict(list)
    for (vendor, name, user), membership in memberships.items():
        detail = {field: value for field, value in membership.items() if field != "user"}
        details[user].append((name, vendor, detail))
    return {
        user: {"user": user, "segments": [detail for _, _, detail in sorted(found, key=lambda one: one[:2])]}
        for user, found in details.items()
    }


def toggles_of(events):
    """Toggles in the order of their events."""
    last, added, toggles = {}, set(), []
    for event in events:
        place = place_of(event)
        if place in added and ("remove" in event) != ("remove" in last[place]):
            toggles.append({**event, "previous": last[place]})
        last[place] = event
        if "remove" not in event:
            added.add(place)
    return toggles


def rows_of(memberships, profiles):
    """{table: {key: row}}, as the tables should hold them."""
    return {
        "segment_memberships": {
            place: {
                **dict(zip(["vendor", "segment_name", "user_id"], place)),
                "first": membership.get("first"),
                "last": membership["last"],
                "member": membership["member"],
                "value": membership.get("value"),
                "flow_document": membership,
            }
            for place, membership in memberships.items()
        },
        "segment_profiles": {
            (user,): {"user_id": user, "segments": profile["segments"], "flow_document": profile}
            for user, profile in profiles.items()
        },
    }


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def sqlite_table(file, table):
    """Column names, and rows as dicts with JSON columns parsed and booleans made of 0 and 1."""
    database = sqlite3.connect(f"{Path(file).resolve().as_uri()}?mode=ro", uri=True)
    try:
        cursor = database.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in cursor.description]
        return columns, [parsed_row(dict(zip(columns, row))) for row in cursor]
    finally:
        database.close()


def parsed_row(row):
    for column in ("segments", "flow_document"):
        if isinstance(row.get(column), str):
            row[column] = json.loads(row[column])
    if "member" in row and row["member"] in (0, 1):
        row["member"] = bool(row["member"])
    return row


def psql_table(conninfo, table):
    """The same through psql. COPY streams, and a row as one JSON column tells NULL from an empty string."""

    def copy(query):
        command = ["psql", conninfo, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", f"COPY ({query}) TO STDOUT (FORMAT csv)"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as psql:
            yield from csv.reader(psql.stdout)
        if psql.returncode != 0:
            raise RuntimeError(f"psql exited with {psql.returncode}")

    csv.field_size_limit(1 << 30)
    columns = [
        name
        for (name,) in copy(
            "SELECT attname FROM pg_attribute"
            f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
    ]
    return columns, [json.loads(row) for (row,) in copy(f"SELECT row_to_json(t) FROM {table} t")]


def compare_table(table, expected, columns, rows, findings):
    key_columns, all_columns = TABLES[table]
    if columns != all_columns:
        findings.add(table, f"columns are {columns}, expected {all_columns}")
        return
    seen = set()
    for row in rows:
        key = tuple(row[column] for column in key_columns)
        if key in seen:
            findings.add(table, f"{key} occurs twice")
            continue
        seen.add(key)
        if key not in expected:
            findings.add(table, f"{key} should not be there")
            continue
        document = row["flow_document"]
        try:
            uuid.UUID(document["_meta"]["uuid"])
        except (KeyError, TypeError, ValueError, AttributeError):
            findings.add(table, f"{key}: flow_document has no _meta.uuid")
        actual = {**row, "flow_document": without_meta(document)}
        for column in all_columns:
            if canonical(actual[column]) != canonical(expected[key][column]):
                findings.add(
                    table, f"{key}: {column} is {canonical(actual[column])}, expected {canonical(expected[key][column])}"
                )
    for key in expected:
        if key not in seen:
            findings.add(table, f"{key} is missing")


# ---------------------------------------------------------------------------------------------------------------------
# Toggles


def same_toggle(actual, expected):
    """Whether a toggle is as expected. Its own UUID is new; that of `previous`, where it is kept, is the event's."""
    actual, expected = without_meta(actual), without_meta(expected)
    if isinstance(actual.get("previous"), dict) and "_meta" not in actual["previous"]:
        expected["previous"] = without_meta(expected["previous"])
    return canonical(actual) == canonical(expected)


def compare_toggles(expected, actual, findings):
    """Toggles of the fragments: each exactly once. (If an event id came again and toggled each time, some of its toggles may
    have been combined: the id is their key.)"""
    wanted = defaultdict(list)
    for toggle in expected:
        wanted[toggle["event"]].append(toggle)
    of_event = {event: len(toggles) for event, toggles in wanted.items()}
    for toggle in actual:
        candidates = wanted.get(toggle.get("event"))
        if candidates is None:
            findings.add(TOGGLES, f"{toggle.get('event')} is no toggle")
        elif not candidates:
            findings.add(TOGGLES, f"{toggle['event']} occurs twice")
        else:
            match = next((one for one in candidates if same_toggle(toggle, one)), None)
            if match is None:
                findings.add(TOGGLES, f"is {canonical(toggle)}, expected {canonical(candidates[0])}")
                match = candidates[0]
            candidates.remove(match)
    for event, left in wanted.items():
        if len(left) == of_event[event]:
            findings.add(TOGGLES, f"{event} is missing")


def read_webhook(file, findings):
    """Bodies of the requests of a webhook log, in order: [(id, documents)], each id once; and how many requests."""
    bodies, requests = {}, 0
    for number, line in enumerate(Path(file).read_bytes().splitlines(), 1):
        where = f"{file}, line {number}"
        try:
            request = json.loads(line)
            identity, path, body = request["id"], request["path"], request["body"]
            documents = json.loads(body) if isinstance(body, str) else body
            if not isinstance(identity, str) or not identity:
                raise ValueError("the request has no id")
            if not isinstance(documents, list) or not documents or not all(isinstance(one, dict) for one in documents):
                raise ValueError("the body is not an array of documents")
        except (ValueError, KeyError, TypeError) as error:
            findings.add("webhook", f"{where}: {error!r}")
            continue
        requests += 1
        if path != "/toggles":
            findings.add("webhook", f"{where}: sent to {path}, expected /toggles")
        raw = body if isinstance(body, str) else canonical(body)
        if identity in bodies and bodies[identity][0] != raw:
            findings.add("webhook", f"{where}: id {identity} came with another body before")
        bodies.setdefault(identity, (raw, documents))
    return [(identity, documents) for identity, (_, documents) in bodies.items()], requests


def compare_webhook(published, calls, findings):
    """Every published toggle came at least once, as it was published, and nothing else did."""
    wanted = {toggle["_meta"]["uuid"]: toggle for toggle in published}
    seen = Counter()
    for identity, documents in calls:
        for document in documents:
            key = (document.get("_meta") or {}).get("uuid")
            seen[key] += 1
            if key not in wanted:
                findings.add("webhook", f"request {identity}: {document.get('event')} was never published")
            elif canonical(document) != canonical(wanted[key]):
                findings.add("webhook", f"request {identity}: is {canonical(document)}, expected {canonical(wanted[key])}")
    for key, toggle in wanted.items():
        if seen[key] == 0:
            findings.add("webhook", f"{toggle['event']} was never sent")
        elif seen[key] > 1:
            findings.add("webhook", f"{toggle['event']} was sent under {seen[key]} ids")


# ---------------------------------------------------------------------------------------------------------------------


def check(directory, sqlite=None, psql=None, webhook=None):
    """Compares a run with the model. Returns lines of what was compared, and the findings."""
    root, findings, lines = Path(directory), Findings(), []
    journals = read_collection(root, EVENTS, findings)
    events = []
    for journal, documents in journals.items():
        for event in documents:
            if f"vendor={event['segment']['vendor']}/pivot=00" != journal:
                findings.add(EVENTS, f"{event['event']} of vendor {event['segment']['vendor']} stands in {journal}")
        events += documents
    lines.append(f"events       {len(events)} documents in {len(journals)} partitions")
    if not events:
        findings.add(EVENTS, f"there are none in {root / 'fragments' / EVENTS}")
    repeated = len(events) - len({event["event"] for event in events})
    if repeated:
        lines.append(f"             {repeated} of them repeat the id of an earlier one")

    memberships = memberships_of(events)
    profiles = profiles_of(memberships)
    toggles = toggles_of(events)

    published = [toggle for journal in read_collection(root, TOGGLES, findings).values() for toggle in journal]
    compare_toggles(toggles, published, findings)
    lines.append(f"toggles      {len(toggles)} expected, {len(published)} published")

    for table, expected in rows_of(memberships, profiles).items():
        for name, read, source in (("SQLite", sqlite_table, sqlite), ("PostgreSQL", psql_table, psql)):
            if source is None:
                continue
            try:
                columns, rows = read(source, table)
            except (sqlite3.Error, RuntimeError, OSError) as error:
                findings.add(table, f"cannot be read: {error}")
                continue
            compare_table(table, expected, columns, rows, findings)
            lines.append(f"{name:12} {table}: {len(expected)} rows expected, {len(rows)} there")

    if webhook is not None:
        calls, requests = read_webhook(webhook, findings)
        compare_webhook(published, calls, findings)
        sent = sum(len(documents) for _, documents in calls)
        lines.append(f"webhook      {sent} toggles in {requests} requests, {requests - len(calls)} of them repeats")
    return lines, findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", help="data directory of the run, the one with fragments/ in it")
    parser.add_argument("--sqlite", metavar="FILE", help="SQLite file with the tables")
    parser.add_argument("--psql", metavar="CONNINFO", help="connection string or URL of the database with the tables")
    parser.add_argument("--webhook", metavar="FILE", help="log of the webhook")
    parser.add_argument("--self-test", action="store_true", help="check the model itself on data with planted defects")
    arguments = parser.parse_args()
    if arguments.self_test:
        import model_self_test

        return model_self_test.run()
    if not arguments.directory:
        parser.error("--directory is needed")
    lines, findings = check(arguments.directory, arguments.sqlite, arguments.psql, arguments.webhook)
    print("\n".join(lines))
    print(findings.text() if findings.total() else "no differences")
    return 1 if findings.total() else 0


if __name__ == "__main__":
    sys.exit(main())
