"""The self-test of bank.py: a small run made by hand is found right, and every error planted in it is found."""

import gzip
import hashlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path

import bank

META = iter(range(1 << 20))


def leg(account, seq, delta, balance, request, name="c0"):
    oracle = {"seq": seq, "balance": balance}
    return {"id": account, "seq": seq, "bank": name, "delta": delta, "request": request, "oracle": oracle}


# Three requests and a captured file; r2 was refused, r3 is of unknown outcome and there, r4 likewise and not there.
R1 = [leg("a", 1, -5, -5, "r1"), leg("b", 1, 5, 5, "r1")]
R2 = [leg("a", 2, -9, -14, "r2"), leg("b", 2, 9, 14, "r2")]
R3 = [leg("a", 2, 3, -2, "r3"), leg("b", 2, -3, 2, "r3"), leg("a", 3, 1, -1, "r3"), leg("b", 3, -1, 1, "r3")]
R4 = [leg("c", 1, -1, -1, "r4"), leg("d", 1, 1, 1, "r4")]
FILE = [{**leg("f", 1, -2, -2, "f1", "f"), "count": 1}, {**leg("g", 1, 2, 2, "f1", "f"), "count": 1}]
LEGS = R1 + R3 + FILE
TABLES = {
    "log": "id TEXT, seq INTEGER, flow_document TEXT",
    "merged": "id TEXT, delta INTEGER, flow_document TEXT",
    "running": "id TEXT, balance INTEGER, flow_document TEXT",
    "log_deltas": "id TEXT, seq INTEGER",
    "merged_deltas": "id TEXT, delta INTEGER, count INTEGER",
}


def stamped(document):
    return {"_meta": {"uuid": f"{next(META):08x}-eb31-11eb-8000-35b56d2a9099"}, **document}


def fragment(root, journal, documents, begin=0):
    """Writes a fragment; where it ends."""
    content = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
    folder = root / "fragments" / journal / "utc_date=2026-11-24" / "utc_hour=10"
    folder.mkdir(parents=True, exist_ok=True)
    end = begin + len(content)
    (folder / f"{begin:016x}-{end:016x}-{hashlib.sha1(content).hexdigest()}.gz").write_bytes(gzip.compress(content))
    return end


class Run:
    """What a good run leaves behind, as values that a defect changes before they are written."""

    def __init__(self):
        self.sent = [{"request": f"r{n}", "legs": legs} for n, legs in enumerate((R1, R2, R3, R4), 1)]
        self.sent += [{"request": "r1", "outcome": "ok"}, {"request": "r2", "outcome": "failed"}]
        self.journals = {
            "bank/log/bank=c0/pivot=00": [stamped(one) for one in R1 + R3],
            "bank/log/bank=f/pivot=00": [stamped(one) for one in FILE],
            "bank/merged/pivot=00": [stamped(self.sum(one)) for one in LEGS],
            "bank/running/pivot=00": [stamped(self.balance(one)) for one in LEGS],
        }
        accounts = {}
        for one in LEGS:
            accounts.setdefault(one["id"], []).append(one)
        sums = bank.sums_of(accounts)
        merged, running = bank.merged_of(sums), bank.running_of(sums)
        self.rows = {
            "log": [[one["id"], one["seq"], json.dumps(one)] for one in LEGS],
            "merged": [[one["id"], one["delta"], json.dumps(one)] for one in merged.values()],
            "running": [[one["id"], one["balance"], json.dumps(one)] for one in running.values()],
            "log_deltas": [[one["id"], one["seq"]] for one in LEGS],
            "merged_deltas": [[one["id"], one["delta"], 1] for one in LEGS],
        }
        log = self.journals["bank/log/bank=c0/pivot=00"] + self.journals["bank/log/bank=f/pivot=00"]
        self.calls = [{"id": f"i-{n}", "path": "/log", "body": json.dumps([one]), "answer": 200} for n, one in enumerate(log)]
        self.calls.insert(1, dict(self.calls[0]))
        self.behind, self.stray, self.mend = 0, None, None

    @staticmethod
    def sum(one):
        return {"id": one["id"], "delta": one["delta"], "count": 1, "oracle": one["oracle"]}

    @staticmethod
    def balance(one):
        return {"id": one["id"], "balance": one["oracle"]["balance"], "count": one["seq"], "oracle": one["oracle"]}

    def write(self, root):
        data = root / "segtide_develop"
        ends = {}
        for journal, documents in self.journals.items():
            half = len(documents) // 2
            middle = fragment(data, journal, documents[:half]) if half else 0
            ends[journal] = fragment(data, journal, documents[half:], middle)
        (root / "in").mkdir()
        (root / "in" / "1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in FILE) + '{"half')
        (root / "sent.jsonl").write_text("".join(json.dumps(one) + "\n" for one in self.sent))
        (root / "webhook.jsonl").write_text("".join(json.dumps(one) + "\n" for one in self.calls))
        database = sqlite3.connect(root / "bank.db")
        for table, columns in TABLES.items():
            database.execute(f"CREATE TABLE {table} ({columns})")
            for row in self.rows[table]:
                database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        offsets = {journal: end - self.behind for journal, end in ends.items()}
        database.execute("CREATE TABLE flow_checkpoints_v1 (materialization TEXT, checkpoint TEXT)")
        database.execute("INSERT INTO flow_checkpoints_v1 VALUES ('bank/tables', ?)", [json.dumps({"offsets": {"read": offsets}})])
        database.commit()
        database.close()
        if self.stray:
            (data / self.stray).write_text("")
        if self.mend:
            self.mend(root)


def log(run):
    return run.journals["bank/log/bank=c0/pivot=00"]


def drop_request(run):
    run.journals["bank/log/bank=c0/pivot=00"] = [one for one in log(run) if one["request"] != "r1"]


def half_of_unknown(run):
    run.journals["bank/log/bank=c0/pivot=00"] = log(run)[:-1]


def twice(run):
    log(run).append(stamped(R1[0]))


def same_uuid(run):
    log(run)[1]["_meta"] = log(run)[0]["_meta"]


def refused_is_there(run):
    log(run).extend(stamped(one) for one in R2)


def stranger(run):
    log(run).append(stamped(leg("z", 1, 0, 0, "r9")))


def file_line_lost(run):
    run.journals["bank/log/bank=f/pivot=00"] = run.journals["bank/log/bank=f/pivot=00"][:1]


def out_of_order(run):
    documents = log(run)
    documents[2], documents[4] = documents[4], documents[2]


def changed(run):
    log(run)[0]["delta"] = -6


def sum_lost(run):
    del run.journals["bank/merged/pivot=00"][0]


def sum_twice(run):
    run.journals["bank/merged/pivot=00"].append(stamped(Run.sum(R1[0])))


def wrong_balance(run):
    run.journals["bank/running/pivot=00"][0]["balance"] += 1


def balance_backwards(run):
    documents = run.journals["bank/running/pivot=00"]
    documents[0], documents[2] = documents[2], documents[0]


def row(table, change):
    def planted(run):
        change(run.rows[table])

    planted.__name__ = f"{table}: {change.__name__}"
    return planted


def missing(rows):
    rows.pop()


def doubled(rows):
    rows.append(list(rows[-1]))


def stale(rows):
    document = json.loads(rows[-1][2])
    document["oracle"] = {"seq": 0, "balance": 0}
    rows[-1][2] = json.dumps(document)


def column(rows):
    rows[-1][1] += 1


def behind(run):
    run.behind = 1


def never_called(run):
    run.calls.pop()


def other_body(run):
    run.calls[1]["body"] = run.calls[2]["body"]


def another_id(run):
    run.calls[1]["id"] = "another"


def called_out_of_order(run):
    run.calls[0:5] = run.calls[4:2:-1] + run.calls[0:3]


def too_many_repeats(run):
    run.calls += [dict(run.calls[0]) for _ in range(3)]


def left_over(run):
    run.stray = "format.new"


def half_written(run):
    run.stray = "fragments/bank/merged/pivot=00/utc_date=2026-11-24/utc_hour=10/x.gz#1"


def flipped(run):
    def mend(root):
        file = sorted((root / "segtide_develop" / "fragments").rglob("*.gz"))[0]
        content = bytearray(gzip.decompress(file.read_bytes()))
        content[len(content) // 2] ^= 1
        file.write_bytes(gzip.compress(bytes(content)))

    run.mend = mend


def fragment_gone(run):
    run.mend = lambda root: sorted((root / "segtide_develop" / "fragments").rglob("*.gz"))[0].unlink()


PLANTED = [
    drop_request, half_of_unknown, twice, same_uuid, refused_is_there, stranger, file_line_lost, out_of_order, changed,
    sum_lost, sum_twice, wrong_balance, balance_backwards,
    *(row(table, change) for table in TABLES for change in (missing, doubled)),
    *(row(table, change) for table in ("log", "merged", "running") for change in (stale, column)),
    behind, never_called, other_body, another_id, called_out_of_order, too_many_repeats, left_over, half_written, flipped,
    fragment_gone,
]  # fmt: skip


def acknowledged_refusal(run):
    run.sent.append({"request": "r1", "outcome": "failed"})


def half_of_sums(run):
    """Of a request of unknown outcome, the legs of one account are missing."""
    rows = run.rows["merged"]
    at = next(at for at, row in enumerate(rows) if row[0] == "b")
    document = {**json.loads(rows[at][2]), "count": 1, **{name: R1[1][name] for name in ("delta", "oracle")}}
    rows[at] = ["b", document["delta"], json.dumps(document)]


PLANTED_LARGE = [
    acknowledged_refusal, half_of_sums,
    *(row(table, change) for table in ("merged", "running") for change in (missing, doubled, stale, column)),
]  # fmt: skip


def check_large(root, _):
    database, read = bank.sqlite_reader(root / "bank.db")
    try:
        return bank.check_large(root, read)
    finally:
        database.close()


def without_files(run):
    """What was captured from files is not in the clients' log."""
    for table in ("merged", "running"):
        run.rows[table] = [row for row in run.rows[table] if row[0] not in ("f", "g")]


def findings_of(plant, check=lambda root, faults: bank.check(root, faults=faults)):
    root = Path(tempfile.mkdtemp(prefix="segtide-bank-"))
    try:
        run = Run()
        if check is check_large:
            without_files(run)
        if plant:
            plant(run)
        run.write(root)
        return check(root, 2)[1]
    finally:
        shutil.rmtree(root)


def run():
    for good in (findings_of(None), findings_of(None, check_large)):
        if good.total():
            print(f"a good run is found wrong:\n{good.text()}")
            return 1
    missed = [plant.__name__ for plant in PLANTED if not findings_of(plant).total()]
    missed += [f"{plant.__name__}, large" for plant in PLANTED_LARGE if not findings_of(plant, check_large).total()]
    for name in missed:
        print(f"planted and not found: {name}")
    planted = len(PLANTED) + len(PLANTED_LARGE)
    print(f"{planted - len(missed)} of {planted} planted errors found")
    return 1 if missed else 0
