#!/usr/bin/env python3
"""Checks a run of the bank (bank.flow.yaml) against what its clients sent, and shares nothing with the runtime.

It reads the clients' log, the captured files, the fragments, the tables and the log of the webhook, and holds them to this:

  log        a request that was answered is there once, one that was refused is not, one of unknown outcome is there whole and
             once, or not at all; every line of a captured file is there once; nothing else is; each account's legs in order
  merged     sums and counts of every account are those of its legs
  running    every balance that was published is the oracle's
  tables     are what the journals come to, row by row; summed, the rows of delta updates are the standard ones; the checkpoint
             is where the journals end; the database is whole
  webhook    every leg at least once, the same bytes under the same id, not more repeats than faults, each account in order
  files      fragments are what their names say, and no file is there that has no business to be

A run is a directory: in/*.jsonl, sent.jsonl (the clients' log), segtide_develop/, bank.db, webhook.jsonl. Python 3.8 or later.
"""

import argparse
import json
import re
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from model import FRAGMENT, Findings, canonical, psql_table, read_collection, without_meta  # noqa: E402

LOG, MERGED, RUNNING = "bank/log", "bank/merged", "bank/running"
SQLITE_TASK = "bank/tables"
MERGED_FIELDS = ("id", "delta", "count", "oracle")
# Whatever a data directory holds besides fragments.
OURS = re.compile(r"lock|format|reserve|store/.*|scratch(/.*)?")


def place(leg):
    return leg["id"], leg["seq"]


# ---------------------------------------------------------------------------------------------------------------------
# What was sent


def read_sent(file):
    """Requests of the clients' log as {request: (outcome, legs)}; the last outcome counts, and none is `unknown`."""
    requests = {}
    if file.exists():
        for line in file.read_bytes().splitlines():
            entry = json.loads(line)
            legs = entry.get("legs") or requests[entry["request"]][1]
            requests[entry["request"]] = (entry.get("outcome", "unknown"), legs)
    return requests


def read_inputs(folder):
    """Legs of the whole lines of captured files."""
    legs = []
    for file in sorted(folder.glob("*.jsonl")):
        legs += [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    return legs


# ---------------------------------------------------------------------------------------------------------------------
# Journals


def check_log(journals, requests, inputs, findings):
    """Holds the log to what was sent; its legs, by account in the order of their numbers."""
    documents = [document for journal in journals.values() for document in journal]
    seen = Counter(place(document) for document in documents)
    for key, count in seen.items():
        if count > 1:
            findings.add(LOG, f"{key} is there {count} times")
    whose = {(*place(document), document.get("request")) for document in documents}
    known = {}
    for request, (outcome, legs) in requests.items():
        # What was refused is sent again under the same numbers, by another request.
        there = [leg for leg in legs if (*place(leg), request) in whose]
        if outcome == "ok" and len(there) < len(legs):
            findings.add(LOG, f"{request} was acknowledged, and {len(legs) - len(there)} of its {len(legs)} legs are lost")
        if outcome == "failed" and there:
            findings.add(LOG, f"{request} was refused, and {len(there)} of its legs are there")
        if outcome == "unknown" and there and len(there) < len(legs):
            findings.add(LOG, f"{request} is there in part: {len(there)} of {len(legs)} legs")
        if outcome != "failed":
            known.update((place(leg), leg) for leg in legs)
    for leg in inputs:
        if place(leg) not in seen:
            findings.add(LOG, f"{place(leg)} of a captured file is lost")
        known[place(leg)] = leg

    accounts = defaultdict(list)
    for journal, legs in journals.items():
        for leg in legs:
            sent = known.get(place(leg))
            if sent is None:
                findings.add(LOG, f"{place(leg)} was never sent")
            elif canonical(without_meta(leg)) != canonical(sent):
                findings.add(LOG, f"{place(leg)} is {canonical(without_meta(leg))}, sent was {canonical(sent)}")
            if journal != f"bank={leg['bank']}/pivot=00":
                findings.add(LOG, f"{place(leg)} of bank {leg['bank']} stands in {journal}")
            accounts[leg["id"]].append(leg)
    for account, legs in accounts.items():
        numbers = [leg["seq"] for leg in legs]
        if numbers != list(range(1, len(legs) + 1)):
            findings.add(LOG, f"account {account} has legs {shortened(numbers)}, expected 1 to {len(legs)} in order")
        balance = 0
        for leg in legs:
            balance += leg["delta"]
            if leg["oracle"] != {"seq": leg["seq"], "balance": balance}:
                findings.add(LOG, f"{place(leg)} comes to {balance}, its oracle says {canonical(leg['oracle'])}")
    total = sum(document["delta"] for document in documents)
    if total != 0:
        findings.add(LOG, f"all deltas add up to {total}, not to zero")
    return accounts


def shortened(numbers):
    return f"{numbers[:5]}…{numbers[-5:]}" if len(numbers) > 12 else str(numbers)


def sums_of(accounts):
    """What the legs of each account come to: all deltas, how many, and the last oracle."""
    return {account: (sum(leg["delta"] for leg in legs), len(legs), legs[-1]["oracle"]) for account, legs in accounts.items()}


def merged_of(sums):
    return {
        account: {"id": account, "delta": delta, "count": count, "oracle": oracle} for account, (delta, count, oracle) in sums.items()
    }


def running_of(sums):
    return {
        account: {"id": account, "balance": oracle["balance"], "count": count, "oracle": oracle}
        for account, (_, count, oracle) in sums.items()
    }


def check_merged(documents, accounts, findings):
    found = {}
    for document in documents:
        known = found.setdefault(document["id"], {"id": document["id"], "delta": 0, "count": 0})
        known["delta"] += document["delta"]
        known["count"] += document["count"]
        known["oracle"] = document["oracle"]
    compare(MERGED, found, merged_of(sums_of(accounts)), findings)


def check_running(documents, accounts, findings):
    last = {}
    for document in documents:
        oracle = document["oracle"]
        if document["balance"] != oracle["balance"] or document["count"] != oracle["seq"]:
            findings.add(RUNNING, f"{canonical(without_meta(document))} is not what its oracle says")
        before = last.get(document["id"])
        if before and before["count"] >= document["count"]:
            findings.add(RUNNING, f"{document['id']}: count {document['count']} was published after {before['count']}")
        last[document["id"]] = without_meta(document)
    compare(RUNNING, last, running_of(sums_of(accounts)), findings)


def compare(subject, found, expected, findings):
    for key in sorted(set(found) | set(expected), key=str):
        if key not in found:
            findings.add(subject, f"{key} is missing")
        elif key not in expected:
            findings.add(subject, f"{key} should not be there: {canonical(found[key])}")
        elif canonical(found[key]) != canonical(expected[key]):
            findings.add(subject, f"{key} is {canonical(found[key])}, expected {canonical(expected[key])}")


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def documents_of(columns, rows):
    """Rows as documents: that of `flow_document` where there is one, with every column beside it held to it."""
    for row in rows:
        document = row.get("flow_document")
        document = json.loads(document) if isinstance(document, str) else document
        plain = {name: value for name, value in zip(columns, (row[name] for name in columns)) if name != "flow_document"}
        yield (without_meta(document) if document else None), plain


def only(fields, document):
    """Lines of captured files are legs also where they are summed; what is not of the sums is left aside."""
    return {field: document.get(field) for field in fields}


def check_table(read, table, key, expected, findings):
    """Holds a table to its rows, by key. `read` gives a table's columns and rows."""
    found = {}
    for document, plain in documents_of(*read(table)):
        if key(document) in found:
            findings.add(table, f"{key(document)} occurs twice")
        found[key(document)] = only(MERGED_FIELDS, document) if table == "merged" else document
        for name, value in plain.items():
            if name in document and not isinstance(document[name], dict) and value != document[name]:
                findings.add(table, f"{key(document)}: column {name} is {value!r}, its document has {document[name]!r}")
    compare(table, found, expected, findings)


def check_sums(read, sums, findings):
    """Holds the tables of what accounts come to."""
    for table, expected in (("merged", merged_of(sums)), ("running", running_of(sums))):
        check_table(read, table, lambda d: d["id"], expected, findings)


def check_tables(read, accounts, findings):
    """Holds the tables to the journals."""
    log = {place(leg): without_meta(leg) for legs in accounts.values() for leg in legs}
    check_table(read, "log", place, log, findings)
    check_sums(read, sums_of(accounts), findings)
    rows = [document or plain for document, plain in documents_of(*read("log_deltas"))]
    for key, count in Counter(place(row) for row in rows).items():
        if count > 1:
            findings.add("log_deltas", f"{key} occurs {count} times")
        if key not in log:
            findings.add("log_deltas", f"{key} should not be there")
    for key in set(log) - {place(row) for row in rows}:
        findings.add("log_deltas", f"{key} is missing")
    sums = defaultdict(lambda: [0, 0])
    for row in (document or plain for document, plain in documents_of(*read("merged_deltas"))):
        sums[row["id"]][0] += row["delta"]
        sums[row["id"]][1] += row["count"]
    expected = {account: [one["delta"], one["count"]] for account, one in merged_of(sums_of(accounts)).items()}
    compare("merged_deltas", dict(sums), expected, findings)


def check_checkpoint(text, ends, findings):
    """Every journal that the checkpoint of the tables names is read to its end, and every journal is named."""
    named = set()

    def walk(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in ends and isinstance(inner, int):
                    named.add(name)
                    if inner != ends[name]:
                        findings.add("checkpoint", f"{name} is read to {inner}, and ends at {ends[name]}")
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(text) if text else {})
    for name in sorted(set(ends) - named):
        findings.add("checkpoint", f"{name} is not in it")


def sqlite_reader(file):
    database = sqlite3.connect(f"{Path(file).resolve().as_uri()}?mode=ro", uri=True)

    def read(table):
        cursor = database.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in cursor.description]
        return columns, [dict(zip(columns, row)) for row in cursor]

    return database, read


def check_sqlite(file, accounts, ends, findings):
    try:
        database, read = sqlite_reader(file)
    except sqlite3.Error as error:
        findings.add("SQLite", f"{file} cannot be read: {error}")
        return
    try:
        for (said,) in database.execute("PRAGMA integrity_check"):
            if said != "ok":
                findings.add("SQLite", f"integrity_check: {said}")
        check_tables(read, accounts, findings)
        rows = database.execute("SELECT checkpoint FROM flow_checkpoints_v1 WHERE materialization = ?", [SQLITE_TASK])
        check_checkpoints([text for (text,) in rows], ends, findings)
    except sqlite3.Error as error:
        findings.add("SQLite", f"cannot be read: {error}")
    finally:
        database.close()


def check_checkpoints(texts, ends, findings):
    """One shard reads every journal; of several, each reads those documents that are its own, and so each reads all."""
    if not texts:
        findings.add("checkpoint", "there is none")
    for text in texts:
        check_checkpoint(text, ends, findings)


def check_postgres(conninfo, accounts, ends, findings):
    def read(table):
        return psql_table(conninfo, table)

    try:
        check_tables(read, accounts, findings)
        _, rows = read("flow_checkpoints_v1")
        check_checkpoints([row["checkpoint"] for row in rows if row["materialization"] == "bank/postgres"], ends, findings)
    except (RuntimeError, OSError) as error:
        findings.add("PostgreSQL", f"cannot be read: {error}")


# ---------------------------------------------------------------------------------------------------------------------
# The webhook


def check_webhook(file, accounts, faults, findings):
    """Returns the number of requests and of repeats."""
    expected = {place(leg): leg for legs in accounts.values() for leg in legs}
    bodies, first, repeats, requests = {}, {}, 0, 0
    for line in file.read_bytes().splitlines() if file.exists() else []:
        request = json.loads(line)
        requests += 1
        identity, body = request["id"], request["body"]
        if identity in bodies:
            repeats += 1
            if bodies[identity] != body:
                findings.add("webhook", f"id {identity} came with another body before")
        bodies.setdefault(identity, body)
        for leg in json.loads(body):
            key = place(leg)
            if key not in expected:
                findings.add("webhook", f"{key} is not in the log")
            elif canonical(leg) != canonical(expected[key]):
                findings.add("webhook", f"{key} is {canonical(leg)}, in the log it is {canonical(expected[key])}")
            if first.setdefault(key, identity) != identity:
                findings.add("webhook", f"{key} came under two ids, {first[key]} and {identity}")
    order = defaultdict(list)
    for account, number in first:
        order[account].append(number)
    for account, numbers in order.items():
        if numbers != sorted(numbers):
            findings.add("webhook", f"account {account} came in the order {shortened(numbers)}")
    for key in sorted(set(expected) - set(first)):
        findings.add("webhook", f"{key} never came")
    if repeats > faults:
        findings.add("webhook", f"{repeats} repeats, after {faults} faults")
    return requests, repeats


# ---------------------------------------------------------------------------------------------------------------------


def check_files(data, findings):
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if path.is_dir() or OURS.fullmatch(name) and not name.endswith(".new"):
            continue
        if not (name.startswith("fragments/") and FRAGMENT.fullmatch(path.name)):
            findings.add("files", f"{path} has no business here")


def ends_of(data):
    """Where the fragments of each journal end."""
    ends = defaultdict(int)
    for path in (data / "fragments").rglob("*.gz"):
        name = FRAGMENT.fullmatch(path.name)
        if name:
            journal = str(path.relative_to(data / "fragments").parents[2])
            ends[journal] = max(ends[journal], int(name[2], 16))
    return dict(ends)


def check(run, data=None, sqlite=None, psql=None, faults=0, webhook=True):
    """Compares a run that has settled with what was sent. Returns lines of what was compared, and the findings."""
    run, findings, lines = Path(run), Findings(), []
    data = Path(data) if data else run / "segtide_develop"
    requests, inputs = read_sent(run / "sent.jsonl"), read_inputs(run / "in")
    accounts = check_log(read_collection(data, LOG, findings), requests, inputs, findings)
    outcomes = Counter(outcome for outcome, _ in requests.values())
    said = ", ".join(f"{outcomes[name]} {name}" for name in ("ok", "failed", "unknown"))
    lines.append(f"requests {said}; {len(inputs)} lines of files; {sum(map(len, accounts.values()))} legs in the log")
    for collection, held in ((MERGED, check_merged), (RUNNING, check_running)):
        journals = read_collection(data, collection, findings)
        held([document for journal in journals.values() for document in journal], accounts, findings)
    ends = ends_of(data)
    if sqlite is not False:
        check_sqlite(sqlite or run / "bank.db", accounts, ends, findings)
    if psql:
        check_postgres(psql, accounts, ends, findings)
    if webhook:
        received, repeats = check_webhook(run / "webhook.jsonl", accounts, faults, findings)
        lines.append(f"webhook {received} requests, {repeats} of them repeats")
    check_files(data, findings)
    return lines, findings


def check_large(run, read):
    """Holds the tables of sums to what was sent, where that is more than memory has room for: what accounts come to is
    summed as the clients' log is read. Of a request of unknown outcome all is there or nothing."""
    run, findings = Path(run), Findings()
    sums, requests, legs_in, outcomes = {}, {}, 0, Counter()

    def add(legs):
        for leg in legs:
            delta, count, _ = sums.get(leg["id"], (0, 0, None))
            sums[leg["id"]] = (delta + leg["delta"], count + 1, leg["oracle"])

    with open(run / "sent.jsonl", "rb") as file:
        for line in file:
            entry = json.loads(line)
            if "legs" in entry:
                requests[entry["request"]] = entry["legs"]
            elif entry["outcome"] == "ok":
                legs = requests.pop(entry["request"])
                legs_in, outcomes["ok"] = legs_in + len(legs), outcomes["ok"] + 1
                add(legs)
            elif requests.pop(entry["request"], None) is None:
                findings.add(LOG, f"{entry['request']} was to be refused, and was acknowledged")
    counts = {document["id"]: document["count"] for document, _ in documents_of(*read("merged"))}
    # After such a request its client goes on with new accounts, so it is the last of its accounts.
    for legs in requests.values():
        is_there = any(counts.get(leg["id"], 0) > sums.get(leg["id"], (0, 0))[1] for leg in legs)
        outcomes["unknown and there" if is_there else "unknown and not there"] += 1
        if is_there:
            add(legs)
    check_sums(read, sums, findings)
    said = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    return [f"requests {said}; {legs_in} legs acknowledged, of {len(sums)} accounts"], findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="directory of the run")
    parser.add_argument("--faults", type=int, default=0, help="how many faults it had, which is how many repeats it may have")
    parser.add_argument("--psql", metavar="CONNINFO", help="also the tables in this PostgreSQL database")
    parser.add_argument("--self-test", action="store_true", help="check the checker on a run with planted defects")
    arguments = parser.parse_args()
    if arguments.self_test:
        import bank_self_test

        return bank_self_test.run()
    if not arguments.run:
        parser.error("a run is needed")
    lines, findings = check(arguments.run, faults=arguments.faults, psql=arguments.psql)
    print("\n".join(lines))
    print(findings.text() if findings.total() else "no violations")
    return 1 if findings.total() else 0


if __name__ == "__main__":
    sys.exit(main())
