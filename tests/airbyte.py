#!/usr/bin/env python3
"""Connectors of the Airbyte protocol under the program as it is shipped, killed with `kill -9` and started again.

    tests/airbyte.py --binary target/debug/segtide [--faker target/airbyte/bin/source-faker]

A connector of our own resumes exactly where its state says, so each of its records must be in the collection once. The real
one, `airbyte-source-faker`, is asked with `segtide discover`; once it has a state it sends no more of what it was killed in,
so what was committed by then must be there once, without a hole, and in the table too.
"""
import argparse
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PATIENCE = 120
ROOT = Path(__file__).resolve().parent.parent
SCRIPTED = ROOT / "crates/connectors/tests/it/airbyte/connector.py"
RECORDS = 20_000


def fail(message):
    sys.exit(f"airbyte: {message}")


def run(binary, directory, *arguments):
    done = subprocess.run([binary, *arguments], cwd=directory, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        fail(f"segtide {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def start(binary, directory, *arguments):
    """Starts `develop`; its process, and where it listens."""
    log = open(directory / "log", "ab")
    process = subprocess.Popen(
        [binary, "develop", "--port", "0", *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True)
    for line in process.stdout:
        if found := re.search(r"http://localhost:(\d+)", line):
            return process, f"http://localhost:{found[1]}"
    fail(f"it did not start:\n{(directory / 'log').read_text()}")


def written(address):
    """Documents that captures have published in this run."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/status", timeout=5) as answer:
            tasks = json.load(answer)["tasks"]
    except OSError:
        return 0
    return sum(task["documents_out"] for task in tasks if task["kind"] == "capture")


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)


def documents(binary, directory, collection):
    return [json.loads(line) for line in run(binary, directory, "read", collection).splitlines()]


def rows(directory, table):
    return sqlite3.connect(directory / "tables.db").execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def scripted(binary, directory, seed):
    (directory / "flow.yaml").write_text(json.dumps({
        "collections": {"acme/numbers": {
            "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, "key": ["/n"]}},
        "captures": {"acme/numbers": {
            "interval": "1s",
            "endpoint": {"local": {
                "command": ["python3", str(SCRIPTED)],
                "config": {"count": RECORDS, "every": 97, "pad": 500, "die": 9_000}}},
            "bindings": [{"resource": {"stream": "numbers"}, "target": "acme/numbers"}]}},
        "materializations": {"acme/table": {
            "endpoint": {"sqlite": {"path": "tables.db"}},
            "bindings": [{"resource": {"table": "numbers"}, "source": "acme/numbers"}]}},
    }))
    chance = random.Random(seed)
    for _ in range(4):
        process, _ = start(binary, directory)
        time.sleep(chance.uniform(0.2, 1.5))
        kill(process)
    # It dies by itself as well, so it takes several runs of the connector, which the program starts.
    process, address = start(binary, directory)
    begun = time.monotonic()
    while rows_or_none(directory, "numbers") < RECORDS - RECORDS % 97:
        if time.monotonic() - begun > PATIENCE:
            fail(f"{written(address)} documents after {PATIENCE} s:\n{(directory / 'log').read_text()}")
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)
    numbers = [document["n"] for document in documents(binary, directory, "acme/numbers")]
    # What no state follows comes again with each run, as the protocol has it.
    explained = [n for n in numbers if n < RECORDS - RECORDS % 97]
    if sorted(explained) != list(range(len(explained))):
        fail(f"{len(explained)} records with a state, {len(set(explained))} of them different")
    print(f"a connector of our own: {len(explained)} records, each once, over 4 kills and its own deaths")


def rows_or_none(directory, table):
    try:
        return rows(directory, table)
    except sqlite3.OperationalError:
        return 0


def faker(binary, directory, connector):
    run(binary, directory, "discover", "--", connector)
    config = directory / "discover-source-faker.config.yaml"
    text = config.read_text()
    for name, value in {"count": 100_000, "seed": 1, "records_per_slice": 500, "always_updated": "false", "parallelism": 1}.items():
        text, count = re.subn(rf"(?m)^{name}: .*$", f"{name}: {value}", text)
        if count != 1:
            fail(f"the stub has no {name}:\n{text}")
    config.write_text(text)
    run(binary, directory, "discover", "--", connector)
    (directory / "flow.yaml").write_text(json.dumps({
        "import": ["discover-source-faker.flow.yaml"],
        "materializations": {"acme/tables": {
            "endpoint": {"sqlite": {"path": "tables.db"}},
            "bindings": [
                {"resource": {"table": "users"}, "source": "acme/users"},
                {"resource": {"table": "products"}, "source": "acme/products"}]}},
    }))
    run(binary, directory, "check")
    process, address = start(binary, directory)
    begun = time.monotonic()
    while written(address) < 2_000:
        if time.monotonic() - begun > PATIENCE:
            fail(f"nothing came:\n{(directory / 'log').read_text()}")
        time.sleep(0.02)
    before = written(address)
    kill(process)
    run(binary, directory, "develop", "--port", "0", "--poll")
    told = []
    for stream in ["users", "products"]:
        ids = [document["id"] for document in documents(binary, directory, f"acme/{stream}")]
        if sorted(ids) != list(range(1, len(ids) + 1)):
            fail(f"{stream}: {len(ids)} documents, {len(set(ids))} of them different")
        if rows(directory, stream) != len(ids):
            fail(f"{stream}: {rows(directory, stream)} rows of {len(ids)} documents")
        told.append(f"{len(ids)} {stream}")
    print(f"airbyte-source-faker: {' and '.join(told)}, each once, in the collection and in the table; killed at {before} documents")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--faker", type=lambda text: str(Path(text).absolute()))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="segtide-") as directory:
        scripted(arguments.binary, Path(directory), arguments.seed)
    if arguments.faker:
        with tempfile.TemporaryDirectory(prefix="segtide-") as directory:
            faker(arguments.binary, Path(directory), arguments.faker)


main()
