"""The self-test of model.py: a small run written out by hand is found right, and every defect planted in it is found."""

import copy
import gzip
import hashlib
import json
import sqlite3
import tempfile
from pathlib import Path

import model


def event(number, user, vendor, name, remove=False, value=None, at=None):
    document = {
        "_meta": {"uuid": f"{number:08x}-eb31-11eb-8000-35b56d2a9099"},
        "event": f"11111111-0000-4000-8000-{number:012}",
        "segment": {"name": name, "vendor": vendor},
        "timestamp": at or f"2021-01-16T12:00:{number:02}Z",
        "user": user,
    }
    if remove:
        document["remove"] = True
    if value is not None:
        document["value"] = value
    return document


def good_run():
    """Everything that a run of eleven events leaves behind. Expected rows and toggles are written out, not worked out."""
    one = [  # vendor 1
        event(1, "alice", 1, "trains", value="window"),
        event(2, "alice", 1, "trains"),  # a repeat; the value stays
        event(3, "bob", 1, "trains", remove=True),  # never added: no toggle, no `first`
        event(4, "alice", 1, "trains", remove=True),  # toggle, previous 2
        event(5, "alice", 1, "trains", remove=True),  # a repeat
        event(6, "alice", 1, "trains", value="aisle", at="2021-01-16T11:00:00Z"),  # toggle, previous 5; late by its time
        event(7, "carol", 1, "planes", remove=True),
        event(8, "carol", 1, "planes"),  # first add: no toggle
    ]
    two = [  # vendor 2
        event(9, "alice", 2, "autos"),
        event(10, "alice", 2, "trains"),
        event(11, "alice", 2, "autos", remove=True),  # toggle, previous 9
    ]
    by_number = {int(e["event"][-12:]): e for e in one + two}
    toggles = []
    for count, (number, previous) in enumerate([(4, 2), (6, 5), (11, 9)]):
        toggle = {**copy.deepcopy(by_number[number]), "previous": copy.deepcopy(by_number[previous])}
        toggle["_meta"] = {"uuid": f"{count:08x}-eb32-11eb-8000-35b56d2a9099"}
        toggles.append(toggle)

    memberships = [
        (1, "planes", "carol", "2021-01-16T12:00:08Z", "2021-01-16T12:00:08Z", True, None),
        (1, "trains", "alice", "2021-01-16T11:00:00Z", "2021-01-16T12:00:05Z", True, "aisle"),
        (1, "trains", "bob", None, "2021-01-16T12:00:03Z", False, None),
        (2, "autos", "alice", "2021-01-16T12:00:09Z", "2021-01-16T12:00:11Z", False, None),
        (2, "trains", "alice", "2021-01-16T12:00:10Z", "2021-01-16T12:00:10Z", True, None),
    ]
    meta = {"uuid": "00000000-eb33-11eb-8000-35b56d2a9099"}

    def detail(row):
        vendor, name, _, first, last, member, value = row
        found = {"segment": {"name": name, "vendor": vendor}, "first": first, "last": last, "member": member, "value": value}
        return {field: content for field, content in found.items() if content is not None}

    profiles = []
    for user, rows in [("alice", [3, 1, 4]), ("bob", [2]), ("carol", [0])]:  # by name, then vendor
        segments = [detail(memberships[row]) for row in rows]
        profiles.append([user, segments, {"_meta": meta, "user": user, "segments": segments}])
    return {
        "fragments": {
            "examples/segment/events/vendor=1/pivot=00": [one[:5], one[5:]],
            "examples/segment/events/vendor=2/pivot=00": [two],
            "examples/segment/toggles/pivot=00": [toggles[:1], toggles[1:]],
        },
        "memberships": [[*row, {"_meta": meta, "user": row[2], **detail(row)}] for row in memberships],
        "profiles": profiles,
        "webhook": [["a", "/toggles", toggles[:1]], ["a", "/toggles", toggles[:1]], ["b", "/toggles", toggles[1:]]],
    }


def write_run(root, run):
    for journal, fragments in run["fragments"].items():
        begin = 0
        for documents in fragments:
            content = "".join(json.dumps(document) + "\n" for document in documents).encode()
            end = begin + len(content)
            digest = hashlib.sha1(content).hexdigest()
            folder = root / "fragments" / journal / "utc_date=2021-01-16" / "utc_hour=12"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{begin:016x}-{end:016x}-{digest}.gz").write_bytes(gzip.compress(content))
            begin = end
    database = sqlite3.connect(root / "tables.db")
    database.execute(
        "CREATE TABLE segment_memberships (vendor INTEGER, segment_name TEXT, user_id TEXT, first TEXT, last TEXT,"
        " member BOOLEAN, value TEXT, flow_document TEXT)"
    )
    database.execute("CREATE TABLE segment_profiles (user_id TEXT, segments TEXT, flow_document TEXT)")
    for row in run["memberships"]:
        database.execute("INSERT INTO segment_memberships VALUES (?,?,?,?,?,?,?,?)", [*row[:7], json.dumps(row[7])])
    for user, *rest in run["profiles"]:
        database.execute("INSERT INTO segment_profiles VALUES (?,?,?)", [user, *map(json.dumps, rest)])
    database.commit()
    database.close()
    with open(root / "webhook.log", "w", encoding="utf-8") as log:
        for identity, path, documents in run["webhook"]:
            body = "[\n" + ",\n".join(json.dumps(document) for document in documents) + "\n]"
            log.write(json.dumps({"id": identity, "path": path, "body": body}) + "\n")


# Each defect: what it is, how it is planted in the good run, and what the report must say.


def in_run(change):
    return lambda run, root: (change(run), write_run(root, run))


def on_disk(change):
    return lambda run, root: (write_run(root, run), change(root))


def fragments_of(root, journal):
    return sorted((root / "fragments" / journal).rglob("*.gz"))


def corrupt(root):
    path = fragments_of(root, model.EVENTS)[0]
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content.replace(b"alice", b"alicf", 1)))


EVENTS_1, TOGGLES = "examples/segment/events/vendor=1/pivot=00", "examples/segment/toggles/pivot=00"
DEFECTS = [
    ("an event was lost", in_run(lambda run: run["fragments"][EVENTS_1][0].pop(3)), "is no toggle"),
    ("an event came twice", in_run(lambda run: run["fragments"][EVENTS_1][1].append(run["fragments"][EVENTS_1][0][3])), "occurs twice"),
    ("an event is in the wrong partition", in_run(lambda run: run["fragments"][EVENTS_1][1].append(event(12, "dave", 3, "x"))), "stands in vendor=1"),
    ("a fragment is gone", on_disk(lambda root: fragments_of(root, EVENTS_1)[0].unlink()), "the fragment before it ends at 0"),
    ("a fragment was altered", on_disk(corrupt), "does not have the SHA-1 of its name"),
    ("a fragment is cut off", on_disk(lambda root: (p := fragments_of(root, EVENTS_1)[0]).write_bytes(p.read_bytes()[:-9])), "cannot be decompressed"),
    ("a file is no fragment", on_disk(lambda root: (root / "fragments" / EVENTS_1 / "x.tmp").write_text("")), "is not named as a fragment is"),
    ("a toggle is missing", in_run(lambda run: run["fragments"][TOGGLES][1].pop()), "is missing"),
    ("a toggle was doubled", in_run(lambda run: run["fragments"][TOGGLES][1].append({**run["fragments"][TOGGLES][0][0], "_meta": {"uuid": "00000009-eb32-11eb-8000-35b56d2a9099"}})), "occurs twice"),
    ("a repeat was taken for a toggle", in_run(lambda run: run["fragments"][TOGGLES][1].append({**event(5, "alice", 1, "trains", True), "previous": event(4, "alice", 1, "trains", True)})), "is no toggle"),
    ("previous is not the last event", in_run(lambda run: run["fragments"][TOGGLES][0][0]["previous"].update(event(1, "alice", 1, "trains"))), "expected"),
    ("a membership is missing", in_run(lambda run: run["memberships"].pop(0)), "(1, 'planes', 'carol') is missing"),
    ("a membership is too many", in_run(lambda run: run["memberships"].append([9, "x", *run["memberships"][0][2:]])), "should not be there"),
    ("a membership is there twice", in_run(lambda run: run["memberships"].append(run["memberships"][0])), "occurs twice"),
    ("first is not the earliest", in_run(lambda run: run["memberships"][1].__setitem__(3, "2021-01-16T12:00:01Z")), "first is"),
    ("last is not the latest", in_run(lambda run: run["memberships"][1].__setitem__(4, "2021-01-16T11:00:00Z")), "last is"),
    ("member is wrong", in_run(lambda run: run["memberships"][3].__setitem__(5, True)), "member is true, expected false"),
    ("a removal set first", in_run(lambda run: run["memberships"][2].__setitem__(3, "2021-01-16T12:00:03Z")), "expected null"),
    ("a value was lost", in_run(lambda run: run["memberships"][1].__setitem__(6, None)), "value is null"),
    ("the document differs from the columns", in_run(lambda run: run["memberships"][1][7].update(member=False)), "flow_document is"),
    ("the document has no UUID", in_run(lambda run: run["memberships"][1][7].pop("_meta")), "no _meta.uuid"),
    ("a profile lacks a segment", in_run(lambda run: run["profiles"][0][1].pop()), "segments is"),
    ("a profile is in another order", in_run(lambda run: run["profiles"][0][1].reverse()), "segments is"),
    ("a call is missing", in_run(lambda run: run["webhook"].pop()), "was never sent"),
    ("an id came with another body", in_run(lambda run: run["webhook"].__setitem__(1, ["a", "/toggles", run["webhook"][2][2]])), "with another body before"),
    ("a toggle came under two ids", in_run(lambda run: run["webhook"].append(["c", "/toggles", run["webhook"][0][2]])), "was sent under 2 ids"),
    ("a toggle was altered on its way", in_run(lambda run: run["webhook"].__setitem__(2, ["b", "/toggles", [{**one, "user": "eve"} for one in run["webhook"][2][2]]])), "expected"),
    ("a call went elsewhere", in_run(lambda run: run["webhook"][2].__setitem__(1, "/")), "expected /toggles"),
    ("a call was empty", in_run(lambda run: run["webhook"].append(["d", "/toggles", []])), "not an array of documents"),
]  # fmt: skip


def checked(plant):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plant(good_run(), root)
        lines, findings = model.check(root, sqlite=root / "tables.db", webhook=root / "webhook.log")
        return lines, findings


def run():
    failures = []
    lines, findings = checked(lambda run, root: write_run(root, run))
    if findings.total():
        failures.append(f"the good run is found wrong:\n{findings.text()}")
    for name, plant, phrase in DEFECTS:
        _, findings = checked(plant)
        if not any(phrase in message for messages in findings.found.values() for message in messages):
            failures.append(f"{name}: expected a finding with {phrase!r}, got:\n{findings.text() or 'none'}")
    print(f"model self-test: {len(DEFECTS)} planted defects, {len(failures)} failures")
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0
