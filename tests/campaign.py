#!/usr/bin/env python3
"""Faults against the program, and what it left behind held to what was sent: `campaign.py SCENARIO --seed N`.

  kill       kill -9 at random moments, also while it starts and recovers; of the program as it is shipped
  points     kill -9 at every named point, at its first, middle and last hit
  nested     kill -9 at the k-th step of recovery, three times in a row
  power      power cuts on ext4: what was not synced is gone
  damage     a bit of the log flips
  disk       every k-th call of a kind on a file fails, is cut short or is the last, until a run makes no k-th call
  postgres   the server crashes, restarts, throws sessions out
  replies    the reply to COMMIT is lost, or the connection breaks before it
  zombie     paused inside a transaction, succeeded by another process, and then resumed
  webhook    a receiver that fails, asks to wait, records and never answers, and resets
  overload   far more documents than a throttled PostgreSQL takes, in 512 MiB of memory
  defects    every defect that can be switched on must be found by its scenario

  short      some of each, within minutes: what `./test` runs
  long       all of them, at the counts of a release: what `./test --long` runs; prints the figures

Each prints its seed, what it did, and every violation with a command to replay it. Progress is required after each fault.
Python 3.8 or later on Linux; `power` and `overload` need root, `disk` needs strace, some need PostgreSQL.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "soak"))
import bank  # noqa: E402
from load import Flood, Load, write_files  # noqa: E402
from rig import Disk, Group, Postgres, Program, Proxy, Receiver, Stuck  # noqa: E402

PROGRESS_SECONDS_MAX = 20
ACKNOWLEDGED_AFTER_FAULT = 3
TAKEOVER_SECONDS_MAX = 60


class Campaign:
    """Counts, and the directory everything happens in."""

    def __init__(self, arguments):
        self.arguments, self.seed = arguments, arguments.seed
        self.rng = random.Random(self.seed)
        self.violations, self.counts, self.worst = [], {}, {}
        self.begun = time.monotonic()
        self.root = Path(tempfile.mkdtemp(prefix=f"segtide-{arguments.scenario}-", dir=arguments.directory))
        self.defect = {"SEGTIDE_DEFECT": arguments.defect} if arguments.defect else {}

    @property
    def binary(self):
        """As it is shipped, unless a defect is switched on."""
        return self.arguments.failpoints_binary if self.arguments.defect else self.arguments.binary

    def count(self, what, number=1):
        self.counts[what] = self.counts.get(what, 0) + number

    def longest(self, what, seconds):
        self.worst[what] = max(self.worst.get(what, 0), seconds)

    def violation(self, where, text):
        self.violations.append(f"{where}: {text}")
        print(f"VIOLATION {where}: {text}\n  replay: {self.replay()}", flush=True)

    def replay(self):
        defect = f" --defect {self.arguments.defect}" if self.arguments.defect else ""
        return f"tests/campaign.py {self.arguments.scenario} --seed {self.seed} --count {self.arguments.count}{defect}"

    def over(self):
        """Whether to stop early: time is up, or a defect was looked for and found."""
        limit = self.arguments.seconds
        return bool(self.violations and self.arguments.defect) or (limit and time.monotonic() - self.begun > limit)

    def run(self, name):
        run = self.root / name
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        return run

    def settle_and_check(self, program, where, faults, psql=None, sqlite=True, webhook=True, check=None):
        """Lets it settle without faults and checks everything, or by `check`; whether all was well. Keeps the directory if not."""
        try:
            self.longest("settling, s", program.settle(**self.defect))
        except Stuck as stuck:
            self.violation(where, f"it does not settle: {stuck}; see {program.run}")
            return False
        database = program.database if sqlite else False
        check = check or functools.partial(
            bank.check, program.run, data=program.data / "segtide_develop", sqlite=database, psql=psql, faults=faults, webhook=webhook
        )
        _, findings = check()
        self.count("checks")
        if findings.total():
            self.violation(where, f"see {program.run}\n{findings.text()}")
            return False
        return True

    def report(self):
        self.count("violations", len(self.violations))
        facts = [f"{what} {number}" for what, number in self.counts.items()]
        facts += [f"longest {what} {seconds:.2f}" for what, seconds in self.worst.items()]
        print(f"{self.arguments.scenario}: seed {self.seed}, {time.monotonic() - self.begun:.0f} s; {'; '.join(facts)}", flush=True)
        if not self.violations:
            shutil.rmtree(self.root, ignore_errors=True)
        return len(self.violations)


def wait_for(what, condition, seconds=PROGRESS_SECONDS_MAX):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Stuck(f"no {what} in {seconds} s")
        time.sleep(0.005)


def checkpoint(database):
    """The checkpoint in the SQLite table, if it is there yet."""
    try:
        with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute("SELECT checkpoint FROM flow_checkpoints_v1").fetchall()
    except sqlite3.Error:
        return None


def progress(load, program, tables=False):
    """Waits for so many acknowledgements since now, and on request for a commit of the tables."""
    load.port = program.port
    before, tables_before = load.acknowledged, checkpoint(program.database) if tables else None
    wait_for("acknowledgement", lambda: load.acknowledged >= before + ACKNOWLEDGED_AFTER_FAULT or program.process.poll() is not None)
    if tables:
        wait_for("commit of the tables", lambda: checkpoint(program.database) not in (None, tables_before))


# ---------------------------------------------------------------------------------------------------------------------


def kill(campaign):
    """Random kills of the shipped program, which divides keys among another number of shards with each start. A quarter of them
    come while it starts, up to three in a row."""
    rng, left, batch = campaign.rng, campaign.arguments.count, 0
    while left > 0 and not campaign.over():
        batch += 1
        receiver = Receiver(campaign.run(f"kill-{batch}") / "webhook.jsonl", lambda r: 500 if r.random() < 0.05 else 200, batch)
        program = Program(campaign.binary, campaign.root / f"kill-{batch}", webhook=receiver.url)
        shards = lambda: rng.randint(1, campaign.arguments.shards)  # noqa: E731
        start_seconds, kills, ok = 0.15, 0, True
        for generation in range(4):
            with Load(program.run, rng.getrandbits(32), generation=f"g{generation}", pause_seconds=0.004) as load:
                for _ in range(min(25, left)):
                    try:
                        for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 3])):
                            program.shards = shards()
                            program.start(**campaign.defect)
                            time.sleep(rng.uniform(0, 1.5 * start_seconds))
                            program.kill()
                            kills += 1
                            campaign.count("of them in recovery")
                        begun = time.monotonic()
                        program.shards = shards()
                        program.start(**campaign.defect)
                        if not program.ready():
                            raise Stuck(f"it ended: {program.last_words()}")
                        took = time.monotonic() - begun
                        start_seconds = 0.8 * start_seconds + 0.2 * took
                        progress(load, program, tables=kills % 10 == 0)
                        campaign.longest("start to progress, s", time.monotonic() - begun)
                        time.sleep(rng.uniform(0, 0.3))
                    except Stuck as stuck:
                        campaign.violation(f"kill-{batch}", f"{stuck}; see {program.run}")
                        ok = False
                    load.port = None
                    program.kill()
                    kills += 1
                    if not ok:
                        break
            left -= 25
            campaign.count("requests acknowledged", load.acknowledged)
            ok = ok and campaign.settle_and_check(program, f"kill-{batch}, after {kills}", kills + receiver.faults)
            if not ok or left <= 0 or campaign.over():
                break
        campaign.count("kills", kills)
        receiver.close()
        if ok:
            shutil.rmtree(program.run)


def hits_of(text):
    """`failpoint NAME HITS` lines of the last start."""
    last = text.rsplit("--- start", 1)[-1]
    return {name: int(hits) for name, hits in re.findall(r"^failpoint (\S+) (\d+)$", last, re.M)}


def point_run(campaign, name, before, **env):
    """A first run on a fresh directory, with `before` kills before it; returns what it was killed by, and how it went on."""
    run = campaign.run(name)
    receiver = Receiver(run / "webhook.jsonl")
    program = Program(campaign.arguments.failpoints_binary, run, webhook=receiver.url)
    rng, kills = random.Random(f"{campaign.seed}{name}"), 0
    with Load(run, rng.getrandbits(32), pause_seconds=0.004) as load:
        for _ in range(before):
            program.start(**campaign.defect)
            program.ready()
            progress(load, program)
            time.sleep(0.2)
            load.port = None
            program.kill()
            kills += 1
        program.start(**{**campaign.defect, **env})
        if program.ready():
            load.port = program.port
            wait_for("acknowledgement", lambda: load.acknowledged >= 25 or program.process.poll() is not None)
            # Fragments are written when it ends in order; that is where their points are.
            load.paused.set()
            time.sleep(0.05)
            load.port = None
            program.signal(signal.SIGTERM)
        code = program.wait()
        kills += code == -signal.SIGKILL
        load.paused.clear()
        program.start(**campaign.defect)
        if not program.ready():
            raise Stuck(f"it ended: {program.last_words()}")
        progress(load, program)
        load.port = None
        program.kill()
        kills += 1
    campaign.settle_and_check(program, name, kills)
    receiver.close()
    if not campaign.violations:
        shutil.rmtree(run)
    return code


def points(campaign):
    """Every point of two runs, one on a fresh directory and one that recovers: at its first, middle and last hit."""
    reached, known = set(), set()
    for before in (0, 1):
        run = campaign.run(f"count-{before}")
        receiver = Receiver(run / "webhook.jsonl")
        program = Program(campaign.arguments.failpoints_binary, run, webhook=receiver.url)
        with Load(run, campaign.seed, pause_seconds=0.004) as load:
            for _ in range(before):
                program.start()
                program.ready()
                progress(load, program)
                time.sleep(0.2)
                load.port = None
                program.kill()
            program.start(SEGTIDE_FAILPOINTS="count")
            program.ready()
            load.port = program.port
            wait_for("acknowledgement", lambda: load.acknowledged >= 25)
            load.paused.set()
            time.sleep(0.05)
            load.port = None
            program.stop()
        receiver.close()
        hits = hits_of((run / "stderr.log").read_text(errors="replace"))
        known |= set(hits)
        wanted = [(name, k) for name, n in sorted(hits.items()) for k in sorted({1, (n + 1) // 2, n})]
        if campaign.arguments.count:  # the short form: the first hit of each
            wanted = [(name, 1) for name, _ in sorted(hits.items()) if before == 0 or name.startswith(("boot", "apply", "shard"))]
        for name, k in wanted:
            if campaign.over():
                return
            try:
                code = point_run(campaign, f"{name}-{k}-{before}", before, SEGTIDE_FAILPOINTS=f"kill@{name}:{k}")
            except Stuck as stuck:
                campaign.violation(f"{name}:{k}", str(stuck))
                continue
            if code == -signal.SIGKILL:
                campaign.count("kills at points")
                reached.add(name)
            else:
                campaign.count("not reached this time")
    campaign.count("points", len(known))
    campaign.count("points killed at", len(reached))
    if missed := known - reached:
        campaign.violation("points", f"never killed at {sorted(missed)}")


def nested(campaign):
    """Recovery killed at its k-th step, three times in a row, then required to go on."""
    for number in range(campaign.arguments.count):
        if campaign.over():
            return
        run = campaign.run(f"nested-{number}")
        receiver = Receiver(run / "webhook.jsonl")
        program = Program(campaign.arguments.failpoints_binary, run, webhook=receiver.url)
        kills = 0
        try:
            with Load(run, campaign.rng.getrandbits(32), pause_seconds=0.004) as load:
                program.start(**campaign.defect)
                program.ready()
                progress(load, program)
                time.sleep(campaign.rng.uniform(0, 0.3))
                load.port = None
                program.kill()
                for _ in range(3):
                    program.start(**campaign.defect, SEGTIDE_FAILPOINTS=f"kill@{campaign.rng.randint(1, 60)}")
                    if program.ready():
                        load.port = program.port
                        wait_for("death", lambda: program.process.poll() is not None)
                        load.port = None
                    program.kill()
                    kills += 1
                begun = time.monotonic()
                program.start(**campaign.defect)
                program.ready()
                progress(load, program, tables=True)
                campaign.longest("start to progress, s", time.monotonic() - begun)
                load.port = None
                program.kill()
        except Stuck as stuck:
            campaign.violation(f"nested-{number}", str(stuck))
        campaign.count("kills in recovery", kills)
        campaign.settle_and_check(program, f"nested-{number}", kills + 2)
        receiver.close()
        if not campaign.violations:
            shutil.rmtree(run)


def power(campaign):
    """Power cuts while it runs, starts and ends; data directory and SQLite file are on the disk that loses power."""
    rng, left, batch = campaign.rng, campaign.arguments.count, 0
    shapes = [(4096, "ordered"), (1024, "ordered"), (4096, "writeback")]
    while left > 0 and not campaign.over():
        block, mode = shapes[batch % len(shapes)]
        batch += 1
        disk, run = Disk(block=block, mode=mode), campaign.run(f"power-{batch}")
        receiver = Receiver(run / "webhook.jsonl")
        program = Program(campaign.binary, run, data=disk.root, webhook=receiver.url)
        cuts, ok = 0, True
        try:
            with Load(run, rng.getrandbits(32), pause_seconds=0.004) as load:
                for _ in range(min(25, left)):
                    if rng.random() < 0.15:
                        program.start(**campaign.defect)
                        time.sleep(rng.uniform(0, 0.3))
                    else:
                        program.start(**campaign.defect)
                        if not program.ready():
                            raise Stuck(f"it ended: {program.last_words()}")
                        progress(load, program, tables=cuts % 10 == 0)
                        time.sleep(rng.uniform(0, 0.4))
                        if rng.random() < 0.3:  # while it writes its fragments
                            load.port = None
                            program.signal(signal.SIGTERM)
                            time.sleep(rng.uniform(0, 0.3))
                    program.freeze()
                    disk.cut()
                    load.port = None
                    program.kill()
                    disk.restore()
                    cuts += 1
        except Stuck as stuck:
            campaign.violation(f"power-{batch}", f"{stuck}; see {program.run}")
            ok = False
            program.kill()
        left -= 25
        campaign.count("power cuts", cuts)
        campaign.count("requests acknowledged", load.acknowledged)
        ok = ok and campaign.settle_and_check(program, f"power-{batch} ({block} {mode})", cuts)
        receiver.close()
        if not ok:
            with contextlib.suppress(shutil.Error):
                shutil.copytree(disk.root, run / "disk")
        disk.close()
        if ok:
            shutil.rmtree(run)


# Calls and what becomes of them; `renameat` is the store's, made past the C library, so strace has to break it.
CHANGES = ["write", "pwrite", "fsync", "fdatasync", "create", "rename", "link", "unlink", "ftruncate", "mkdir"]
KINDS = [(call, fault) for call in CHANGES for fault in ("EIO", "ENOSPC", "KILL")]
KINDS += [("write", "SHORT"), ("pwrite", "SHORT"), ("read", "EIO"), ("pread", "EIO"), ("open", "EIO")]
KINDS += [("renameat", "EIO"), ("renameat", "ENOSPC"), ("renameat", "KILL")]


def disk(campaign):
    """Every k-th call of a kind fails once or is the last, until a run makes no k-th call. Then a run without faults must
    settle, and everything must be there once. `--count` bounds k; `--part i/n` does one of n parts."""
    part, parts = map(int, campaign.arguments.part.split("/"))
    shim = campaign.root / "faults.so"
    source = Path(__file__).resolve().parent / "soak" / "faults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"], check=True)
    for call, fault in KINDS[part::parts]:
        for k in itertools.count(1):
            if campaign.over() or campaign.arguments.count and k > campaign.arguments.count:
                break
            if not one_error(campaign, shim, call, fault, k):
                campaign.count("kinds of calls to their end")
                break


def one_error(campaign, shim, call, fault, k):
    """A small run whose k-th call fails; whether there was one."""
    name = f"{call}-{fault}-{k}"
    run = campaign.run(name)
    receiver = Receiver(run / "webhook.jsonl")
    write_files(run / "in", 60, campaign.seed)
    program = Program(campaign.binary, run, webhook=receiver.url)
    mark, before = run / "struck", []
    env = {"LD_PRELOAD": str(shim), "SEGTIDE_FAULT": f"{call}:{k}:1:{fault}:{run}", "SEGTIDE_FAULT_MARK": str(mark)}
    if call == "renameat":
        what = "signal=KILL" if fault == "KILL" else f"error={fault}"
        before = ["strace", "-f", "-qq", "-o", str(mark), "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={k}"]
        env = {}
    program.start("--poll", before=before, **env, **campaign.defect)
    code = None
    try:
        code = program.wait()
    except Stuck as stuck:
        campaign.violation(name, f"{stuck}; see {run}")
        program.kill()
    struck = mark.exists() and (not before or b"INJECTED" in mark.read_bytes() or code == -signal.SIGKILL)
    if struck:
        campaign.count("faults")
        campaign.count({0: "got over", -signal.SIGKILL: "killed", None: "hung"}.get(code, "ended"))
    if campaign.settle_and_check(program, name, 2) and code is not None:
        shutil.rmtree(run)
    receiver.close()
    return struck


# ---------------------------------------------------------------------------------------------------------------------


def postgres(campaign):
    """The server is killed, restarted at once or in order, or throws the sessions out, under load."""
    server, rng = Postgres(), campaign.rng
    try:
        left, batch = campaign.arguments.count, 0
        while left > 0 and not campaign.over():
            batch += 1
            database = f"postgres{batch}"
            server.sql(f"CREATE DATABASE {database}", "postgres")
            program = Program(campaign.binary, campaign.run(database), sqlite=False, postgres=server.config(database))
            faults = min(20, left)
            try:
                program.start(**campaign.defect)
                program.ready()
                with Load(program.run, rng.getrandbits(32), pause_seconds=0.01) as load:
                    load.port = program.port
                    for number in range(faults):
                        reads = lambda: server.sql("SELECT checkpoint FROM flow_checkpoints_v1", database, check=False)  # noqa: E731
                        before = reads()
                        time.sleep(rng.uniform(0, 0.6))
                        fault = rng.choice(["kill", "kill", "immediate", "fast", "terminate"])
                        campaign.count(fault)
                        if fault == "terminate":
                            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'segtide/%'", database)
                        else:
                            server.stop(fault)
                            time.sleep(rng.choice([0, 0, 0.5]))
                            server.start()
                        begun = time.monotonic()
                        wait_for("commit after the fault", lambda: reads() not in ("", before), 40)
                        campaign.longest("fault to commit, s", time.monotonic() - begun)
                        if program.process.poll() is not None:
                            raise Stuck(f"it ended: {program.last_words()}")
                load.port = None
            except Stuck as stuck:
                campaign.violation(database, f"{stuck}; see {program.run}")
            program.kill()
            left -= faults
            campaign.count("faults", faults)
            campaign.settle_and_check(program, database, faults, psql=server.conninfo(database), sqlite=False, webhook=False)
    finally:
        server.close()


def replies(campaign):
    """Commits whose reply is lost, which have happened, and commits that the server never heard of."""
    server, rng = Postgres(), campaign.rng
    try:
        left, batch = campaign.arguments.count, 0
        while left > 0 and not campaign.over():
            batch += 1
            database = f"replies{batch}"
            server.sql(f"CREATE DATABASE {database}", "postgres")
            dropped = {"drop_reply": 0, "reset_before": 0}

            def plan(n, dropped=dropped):
                what = rng.choice(["pass", "pass", "drop_reply", "drop_reply", "reset_before"]) if n > 1 else "pass"
                if what != "pass":
                    dropped[what] += 1
                return what

            proxy = Proxy(server.port, plan)
            program = Program(campaign.binary, campaign.run(database), sqlite=False, postgres=server.config(database, proxy.port))
            wanted = min(25, left)
            try:
                program.start(**campaign.defect)
                program.ready()
                with Load(program.run, rng.getrandbits(32), pause_seconds=0.01) as load:
                    load.port = program.port
                    wait_for("lost replies", lambda: dropped["drop_reply"] >= wanted or campaign.over(), 600)
            except Stuck as stuck:
                campaign.violation(database, f"{stuck}; see {program.run}")
            proxy.plan = lambda n: "pass"
            program.kill()
            left -= wanted
            campaign.count("lost replies", dropped["drop_reply"])
            campaign.count("connections broken before the commit", dropped["reset_before"])
            campaign.settle_and_check(program, database, 0, psql=server.conninfo(database), sqlite=False, webhook=False)
            proxy.close()
    finally:
        server.close()


# Nothing breaks the lock that a paused process has on a SQLite file, so there only from before it was taken.
# In SQLite while it does not have the lock of the file, which nobody can break from outside (docs/guide/limits.md).
ZOMBIE_POINTS = ["pg.loaded", "pg.rows_stored", "pg.fence_row", "pg.rows_stored", "lite.committed"]


def zombie(campaign):
    """Paused inside a transaction; a second owner of the same tables, over a copy of the directory, goes on and finishes; then
    the first wakes. It must change nothing, and say that it was succeeded."""
    server = Postgres()
    try:
        numbers = iter(range(campaign.arguments.count))
        lock = threading.Lock()

        def lane():
            while not campaign.over():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    one_zombie(campaign, server, number, ZOMBIE_POINTS[number % len(ZOMBIE_POINTS)])
                except (Stuck, RuntimeError, OSError) as error:
                    campaign.violation(f"zombie-{number}", repr(error))

        lanes = [threading.Thread(target=lane) for _ in range(campaign.arguments.lanes)]
        for thread in lanes:
            thread.start()
        for thread in lanes:
            thread.join()
    finally:
        server.close()


def one_zombie(campaign, server, number, point):
    sqlite = point.startswith("lite")
    database, run = f"zombie{number}", campaign.run(f"zombie-{number}")
    server.sql(f"CREATE DATABASE {database}", "postgres")
    write_files(run / "in", 60, campaign.seed + number)
    file = run / "shared.db"
    settings = {"sqlite": sqlite, "postgres": None if sqlite else server.config(database)}
    first = Program(campaign.arguments.failpoints_binary, run, data=run / "first", **settings)
    shutil.copytree(run / "in", run / "all")
    first.database = file
    if sqlite:
        flow = first.catalog.read_text().replace(str(run / "first" / "bank.db"), str(file))
        first.catalog.write_text(flow)
    first.data.mkdir()
    hit = 1 if sqlite else random.Random(campaign.seed + number).randint(1, 3)
    first.start(**campaign.defect, SEGTIDE_FAILPOINTS=f"stop@{point}:{hit}")
    first.ready()
    feed = Feed(run, campaign.seed + number)
    feed.start()
    wait_for("pause", lambda: state_of(first.process.pid) == "T", 60)
    shutil.copytree(first.data, run / "second")
    second = Program(campaign.arguments.failpoints_binary, run, data=run / "second", log="successor.log", **settings)
    second.database, second.catalog = file, first.catalog
    if sqlite:
        second.catalog.write_text(flow)
    reads = lambda: tables_checkpoint(server, database, file if sqlite else None)  # noqa: E731
    before, begun = reads(), time.monotonic()
    second.start(**campaign.defect)
    seen = []
    wait_for("two commits of the successor", lambda: advanced(seen, reads(), before) >= 2, TAKEOVER_SECONDS_MAX)
    campaign.longest("takeover, s", time.monotonic() - begun)
    first.signal(signal.SIGCONT)
    with contextlib.suppress(Stuck):
        wait_for("word of the zombie", lambda: "another process" in first.last_words() or first.process.poll() is not None, 30)
    feed.stop()
    first.kill()
    second.kill()
    campaign.count("zombies")
    if "another process" not in first.last_words():
        campaign.violation(f"zombie-{number}", f"at {point}, it does not say that it was succeeded; see {run}")
    if "another process" in second.last_words():
        campaign.violation(f"zombie-{number}", f"at {point}, it drove its successor out; see {run}")
    if sqlite:
        second.database = file
    campaign.settle_and_check(second, f"zombie-{number} at {point}:{hit}", 0, psql=None if sqlite else server.conninfo(database), sqlite=sqlite, webhook=False)
    if not campaign.violations:
        shutil.rmtree(run)


class Feed(threading.Thread):
    """Whole files, one after the other, which every process over the same directory captures alike."""

    def __init__(self, run, seed):
        super().__init__(daemon=True)
        self.inputs, self.seed, self.ended = run / "in", seed, threading.Event()

    def run(self):
        from load import Ledger  # noqa: PLC0415

        ledger, number = Ledger("f", f"feed{self.seed}", random.Random(self.seed)), 0
        while not self.ended.wait(0.1):
            number += 1
            legs, accounts = ledger.legs(f"feed-{number}", 5)
            ledger.accounts.update(accounts)
            new = self.inputs / f"x{number:05}.new"
            new.write_text("".join(json.dumps({**leg, "count": 1}) + "\n" for leg in legs))
            new.rename(self.inputs / f"x{number:05}.jsonl")

    def stop(self):
        self.ended.set()
        self.join()


def advanced(seen, now, before):
    if now and now != before and now not in seen:
        seen.append(now)
    return len(seen)


def tables_checkpoint(server, database, file):
    if file:
        return str(checkpoint(file) or "")
    return server.sql("SELECT checkpoint FROM flow_checkpoints_v1", database, check=False)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def webhook(campaign):
    """A receiver with every bad habit, and a sender that is killed besides."""
    rng = campaign.rng

    def habits(r):
        return r.choices([200, 500, 503, 429, 408, "reset", "timeout"], [60, 12, 6, 4, 4, 12, campaign.arguments.timeouts])[0]

    run = campaign.run("webhook")
    receiver = Receiver(run / "webhook.jsonl", habits, campaign.seed)
    program = Program(campaign.binary, run, sqlite=False, webhook=receiver.url)
    kills = 0
    try:
        with Load(run, campaign.seed, pause_seconds=0.02) as load:
            while receiver.faults < campaign.arguments.count and not campaign.over():
                program.start(**campaign.defect)
                program.ready()
                progress(load, program)
                time.sleep(rng.uniform(1, 8))
                load.port = None
                program.kill()
                kills += 1
    except Stuck as stuck:
        campaign.violation("webhook", str(stuck))
        program.kill()
    receiver.script = lambda r: 200
    campaign.count("bad answers", receiver.faults)
    campaign.count("kills", kills)
    campaign.settle_and_check(program, "webhook", receiver.faults + kills, sqlite=False)
    receiver.close()


def resident(pid):
    """Resident and anonymous memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "RssAnon")]


def overload(campaign):
    """Far more than a throttled PostgreSQL takes, and large bodies that never end, in a control group. What is posted must be
    taken or refused, memory stay flat, and the rows that are stored for each document taken be fewer than before it was
    throttled, which is how a slow table keeps up."""
    seconds, tables = campaign.arguments.seconds or 300, ["merged", "running"]
    campaign.arguments.seconds = 0
    server = Postgres()
    server.sql("CREATE DATABASE overload", "postgres")
    proxy = Proxy(server.port)
    settings = {"sqlite": False, "postgres": server.config("overload", proxy.port), "tables": tables}
    program = Program(campaign.binary, campaign.run("overload"), **settings)
    group, samples, floods, free = Group(campaign.arguments.megabytes), [], [], 0
    stored = lambda: int(server.sql("SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables WHERE relname IN ('merged', 'running')", "overload"))  # noqa: E731
    try:
        program.start(before=group.enter(), **campaign.defect)
        program.ready()
        begun = time.monotonic()
        load = Load(program.run, campaign.seed, clients=campaign.arguments.lanes, writer=False, transfers_max=400, pause_seconds=0.1, accounts=5000)
        with load:
            load.port = program.port
            floods = [Flood(load) for _ in range(campaign.arguments.floods)]
            for flood in floods:
                flood.start()
            while time.monotonic() - begun < seconds:
                time.sleep(seconds / 30)
                if not proxy.bytes_per_second and len(samples) >= 6:
                    proxy.bytes_per_second, free = campaign.arguments.bytes_per_second, len(samples)
                if program.process.poll() is not None:
                    campaign.violation("overload", f"it ended with {program.process.returncode}: {program.last_words()}")
                    break
                samples.append((*resident(program.process.pid), stored(), load.legs))
                print(
                    "  {:4.0f} s: {} documents acknowledged, answers {}, {} rows stored, resident {:.0f} MiB, anonymous {:.0f} MiB".format(
                        time.monotonic() - begun, load.legs, load.answers, samples[-1][2], *samples[-1][:2]
                    ),
                    flush=True,
                )
            for flood in floods:
                flood.stopping.set()
        campaign.count("killed by the kernel", group.killed())
        campaign.count("documents acknowledged", load.legs)
        campaign.count("large bodies that did not end", sum(flood.held for flood in floods))
        if program.process.poll() is None:
            proxy.bytes_per_second = None
            program.stop()
            judge_overload(campaign, samples, free)
        # Whatever became of it, what was acknowledged is there.
        check = functools.partial(bank.check_large, program.run, functools.partial(bank.psql_table, server.conninfo("overload")))
        campaign.settle_and_check(program, "overload", 0, check=check)
    finally:
        program.kill()
        proxy.close()
        server.close()
        group.close()


def judge_overload(campaign, samples, free):
    """Memory is flat from the first half to the second, and rows for each document are fewer than in the `free` first samples."""
    half = len(samples) // 2
    for what, column in (("resident", 0), ("anonymous", 1)):
        early, late = max(one[column] for one in samples[:half]), max(one[column] for one in samples[half:])
        campaign.worst[f"{what} MiB, first half"], campaign.worst[f"{what} MiB, second half"] = early, late
        if what == "anonymous" and late > 1.25 * early:
            campaign.violation("overload", f"memory grows: {early:.0f} MiB in the first half, {late:.0f} MiB in the second")
    (*_, rows, documents), (*_, rows_end, documents_end) = samples[free - 1], samples[-1]
    before, after = rows / max(documents, 1), (rows_end - rows) / max(documents_end - documents, 1)
    campaign.worst["rows for a document, before"], campaign.worst["rows for a document, throttled"] = before, after
    if rows_end == rows or after >= 0.5 * before:
        campaign.violation("overload", f"rows stored for a document do not fall: {before:.3f}, then {after:.3f}")


def damage(campaign):
    """One flipped bit in the newest file of the log, before its last batch: what was acknowledged is there, or the file is named
    and nothing is changed."""
    run = campaign.run("damage")
    program = Program(campaign.binary, run)
    with Load(run, campaign.seed, pause_seconds=0.004) as load:
        for _ in range(2):  # the second start has made the file as long as what it holds
            program.start(**campaign.defect)
            program.ready()
            load.port = program.port
            wait_for("acknowledgements", lambda: load.acknowledged >= 40)
            load.port = None
            program.kill()
            load.acknowledged = 0
    newest = max((program.data / "segtide_develop" / "store").glob("*.jnl"), key=lambda path: int(path.stem))
    # A batch ends in these bytes; behind the last but one begins the last, which a power cut may have torn for all one can tell.
    ends = [found.end() for found in re.finditer(rb"FJL\x03", newest.read_bytes())]
    for number in range(campaign.arguments.count):
        if campaign.over():
            return
        data = run / f"damaged-{number}"
        shutil.copytree(program.data, data, ignore=shutil.ignore_patterns("damaged-*"))
        damaged = data / newest.relative_to(program.data)
        contents, at = bytearray(newest.read_bytes()), campaign.rng.randrange(ends[-2])
        contents[at] ^= 1 << campaign.rng.randrange(8)
        damaged.write_bytes(contents)
        again = Program(campaign.binary, run, data=data)
        again.start("--poll", **campaign.defect)
        if again.wait() == 0:
            campaign.count("flips without a consequence")
            _, findings = bank.check(run, data=data / "segtide_develop", sqlite=again.database, webhook=False)
            if findings.total():
                campaign.violation(f"damage at byte {at}", f"was not seen; see {data}\n{findings.text()}")
                return
        elif newest.name not in again.last_words():
            campaign.violation(f"damage at byte {at}", f"the file is not named: {again.last_words()}")
        elif damaged.read_bytes() != contents:
            campaign.violation(f"damage at byte {at}", f"the file was changed; see {data}")
        else:
            campaign.count("flips refused by name")
        shutil.rmtree(data)


# ---------------------------------------------------------------------------------------------------------------------

# Each defect that can be switched on, and the scenario that must find it.
DEFECTS = {
    "checkpoint-before-data": ("kill", 200),
    "checkpoint-after-data": ("kill", 200),
    "answer-before-commit": ("kill", 200),
    "outbox-forgotten": ("kill", 100),
    "range-ignored": ("kill", 25),
    "drop-document": ("kill", 25),
    "tail-dropped-first": ("points", 0),
    "no-commit-sync": ("power", 25),
    "no-directory-sync": ("power", 100),
    "fresh-webhook-id": ("webhook", 100),
    "skip-fence": ("zombie", 12),
    "damage-is-a-torn-end": ("damage", 20),
    "unbounded-queue": ("overload", 0),
}


def defects(campaign):
    only = [one for one in campaign.arguments.only.split(",") if one] or DEFECTS
    for defect in only:
        scenario, count = DEFECTS[defect]
        arguments = argparse.Namespace(**{**vars(campaign.arguments), "scenario": scenario, "count": count, "defect": defect})
        sub = Campaign(arguments)
        print(f"-- {defect}: {scenario}", flush=True)
        SCENARIOS[scenario](sub)
        campaign.count("defects")
        if sub.violations:
            campaign.count("caught")
            shutil.rmtree(sub.root, ignore_errors=True)
        else:
            campaign.violation(defect, f"was not caught by {scenario}")


SCENARIOS = {
    one.__name__: one
    for one in (kill, points, nested, power, damage, disk, postgres, replies, zombie, webhook, overload, defects)
}
COUNTS = {"kill": 100, "points": 0, "nested": 20, "power": 50, "damage": 50, "disk": 0, "postgres": 20, "replies": 20, "zombie": 5, "webhook": 40}

# What is run together, the longest first.
PROGRAMMES = {
    "short": [
        "points --count 1",
        "disk --count 1",
        "kill --count 40",
        "defects --only drop-document,checkpoint-before-data,checkpoint-after-data,fresh-webhook-id",
        "postgres --count 4",
        "replies --count 4",
        "power --count 25",
        "nested --count 4",
        "damage --count 15",
        "webhook --count 12 --timeouts 0",
        "zombie --count 5 --lanes 5",
    ],
    "long": [
        "disk --part 0/2",
        "disk --part 1/2",
        "kill --count 1000",
        "kill --count 1000",
        "points",
        "power --count 200",
        "postgres --count 100",
        "replies --count 50",
        "zombie --count 20",
        "nested --count 100",
        "damage --count 500",
        "webhook --count 400",
        "defects",
        "overload",
    ],
}


def programme(arguments):
    """Runs the campaigns of a programme, so many at once; their last lines are its figures."""
    left, lock, results = list(PROGRAMMES[arguments.scenario]), threading.Lock(), []
    passed = ["--binary", arguments.binary, "--failpoints-binary", arguments.failpoints_binary]
    passed += ["--directory", arguments.directory] if arguments.directory else []
    def lane():
        while True:
            with lock:
                if not left:
                    return
                line = left.pop(0)
            if why := missing(line.split()[0]):
                results.append((line, 0, f"{line}: left out, {why}"))
                print(results[-1][2], flush=True)
                continue
            command = [sys.executable, __file__, *line.split(), "--seed", str(arguments.seed + len(left)), *passed]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said = done.stdout.strip()
            results.append((line, done.returncode, said.rsplit("\n", 1)[-1]))
            print(said.rsplit("\n", 1)[-1] if done.returncode == 0 else f"FAILED {line}\n{said}", flush=True)

    lanes = [threading.Thread(target=lane) for _ in range(arguments.at_once)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    failed = [line for line, code, _ in results if code]
    print(f"\n{arguments.scenario}: {len(results) - len(failed)} of {len(results)} campaigns without violations")
    return 1 if failed else 0


def missing(scenario):
    """What this machine lacks for a scenario, if anything."""
    if scenario in ("power", "overload") and os.getuid() != 0:
        return "it needs root"
    if scenario == "power" and not (shutil.which("mkfs.ext4") and os.path.exists("/dev/loop-control")):
        return "there is no ext4 on a loop device here"
    if scenario == "overload" and not Group.is_there():
        return "it needs the memory controller of control groups"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=[*SCENARIOS, *PROGRAMMES])
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--count", type=int, default=None, help="faults; for `disk` the largest k, for `points` 1 is the short form")
    parser.add_argument("--seconds", type=float, default=0, help="begin nothing new after so long")
    parser.add_argument("--defect", default="", help="switch this defect on; stops at the first violation")
    parser.add_argument("--only", default="", help="of `defects`: these, separated by commas")
    parser.add_argument("--part", default="0/1", help="of `disk`: i/n")
    parser.add_argument("--lanes", type=int, default=4, help="zombies at once; clients of `overload`")
    parser.add_argument("--timeouts", type=int, default=1, help="weight of receivers that never answer, which cost 30 s each")
    parser.add_argument("--shards", type=int, default=3, help="of `kill`: up to so many at each start")
    parser.add_argument("--floods", type=int, default=96, help="senders of large bodies that do not end, in `overload`")
    parser.add_argument("--bytes-per-second", type=int, default=64 << 10, help="of PostgreSQL in `overload`")
    parser.add_argument("--megabytes", type=int, default=512, help="memory of `overload`")
    parser.add_argument("--at-once", type=int, default=2, help="campaigns of a programme at once")
    parser.add_argument("--directory", default=None, help="where runs are kept")
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--binary", default=f"{target}/release/segtide", help="the program as it is shipped")
    parser.add_argument("--failpoints-binary", default=f"{target}/failpoints/segtide", help="the program with failpoints")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().getrandbits(32)
    if arguments.scenario in PROGRAMMES:
        return programme(arguments)
    if arguments.count is None:
        arguments.count = COUNTS.get(arguments.scenario, 0)
    campaign = Campaign(arguments)
    print(f"{arguments.scenario}: seed {arguments.seed}, in {campaign.root}", flush=True)
    SCENARIOS[arguments.scenario](campaign)
    return 1 if campaign.report() else 0


if __name__ == "__main__":
    sys.exit(main())
