"""Load on the bank: clients that post transfers and keep a log of what they heard, and a writer of files to be captured."""

import http.client
import json
import random
import socket
import threading
import time

ACCOUNTS = 6
REFUSED_EVERY = 23  # one request in so many breaks the schema, and must leave nothing behind


class Ledger:
    """Accounts of one sender, and the oracle of their legs."""

    def __init__(self, bank, name, rng, accounts=ACCOUNTS):
        self.bank, self.rng = bank, rng
        self.names = [f"{name}-{n}" for n in range(accounts)]
        self.accounts = {}  # sequence and balance of each account that has been used

    def legs(self, request, transfers):
        """The legs of so many transfers, and the accounts they change; nothing is changed until those are put back."""
        accounts, legs = {}, []
        for _ in range(transfers):
            amount = self.rng.randint(1, 1000)
            for account, delta in zip(self.rng.sample(self.names, 2), (-amount, amount)):
                state = accounts.setdefault(account, list(self.accounts.get(account, (0, 0))))
                state[0] += 1
                state[1] += delta
                oracle = {"seq": state[0], "balance": state[1]}
                leg = {"id": account, "seq": state[0], "bank": self.bank, "delta": delta, "request": request, "oracle": oracle}
                legs.append(leg)
        return legs, accounts


class Client(threading.Thread):
    """Posts until stopped. After a request of unknown outcome it goes on with new accounts, whose balances it knows again."""

    def __init__(self, load, number, seed):
        super().__init__(daemon=True, name=f"client {number}")
        self.load, self.number, self.rng = load, number, random.Random(seed)
        self.session, self.posted, self.connection = 0, 0, None
        self.new_ledger()

    def new_ledger(self):
        self.session += 1
        self.ledger = Ledger(f"c{self.number}", f"{self.load.generation}c{self.number}.{self.session}", self.rng, self.load.accounts)

    def run(self):
        while not self.load.stopping.is_set():
            if self.load.paused.is_set() or self.load.port is None:
                self.disconnect()
                time.sleep(0.01)
                continue
            self.post()
            if self.load.pause_seconds:
                time.sleep(self.load.pause_seconds)

    def post(self):
        self.posted += 1
        request = f"{self.load.generation}c{self.number}-{self.posted}"
        legs, accounts = self.ledger.legs(request, self.rng.randint(1, self.load.transfers_max))
        log = [dict(leg) for leg in legs]
        merged = [{"id": leg["id"], "delta": leg["delta"], "count": 1, "oracle": leg["oracle"]} for leg in legs]
        wrong = self.posted % REFUSED_EVERY == 0
        if wrong:
            merged[-1] = {**merged[-1], "delta": "much"}
        # Alternately before and after, so that no order of collections is special.
        body = {"bank/log": log, "bank/merged": merged} if self.posted % 2 else {"bank/merged": merged, "bank/log": log}
        self.load.note({"request": request, "legs": log})
        outcome = self.send(json.dumps(body))
        if outcome is not None:
            self.load.note({"request": request, "outcome": outcome})
        if outcome == "ok" and not wrong:
            self.ledger.accounts.update(accounts)
            self.load.legs += len(legs)
            self.load.acknowledged += 1
        elif outcome == "ok":
            self.load.note({"request": request, "outcome": "failed"})  # it was to be refused, and the checker will say so
        elif outcome is None:
            self.new_ledger()

    def send(self, body):
        """`ok`, `failed` where nothing can have been kept, `None` where nobody knows."""
        try:
            if self.connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.load.port, timeout=30)
                try:
                    connection.connect()
                except OSError:
                    time.sleep(0.01)
                    return "failed"
                self.connection = connection
            self.connection.request("POST", "/ingest", body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            answer.read()
            self.load.answers[answer.status] = self.load.answers.get(answer.status, 0) + 1
            if answer.status == 200:
                return "ok"
            if 400 <= answer.status < 500:
                return "failed"
            time.sleep(0.02)
            return None
        except (OSError, http.client.HTTPException, ValueError):
            self.disconnect()
            return None

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Writer(threading.Thread):
    """Writes lines into files that are captured while they grow, cut anywhere, and begins a new file now and then."""

    def __init__(self, load, seed, lines_per_file=200):
        super().__init__(daemon=True, name="writer")
        self.load, self.rng, self.lines_per_file = load, random.Random(seed), lines_per_file
        self.ledger = Ledger("f", f"{load.generation}f", self.rng)
        self.written = 0

    def run(self):
        number = 0
        while not self.load.stopping.is_set():
            number += 1
            with open(self.load.inputs / f"{self.load.generation}{number:05}.jsonl", "ab", buffering=0) as file:
                for _ in range(self.lines_per_file // 2):
                    while self.load.paused.is_set() and not self.load.stopping.is_set():
                        time.sleep(0.01)
                    text = self.transfer()
                    cut = self.rng.randrange(len(text))
                    file.write(text[:cut])
                    time.sleep(self.load.pause_seconds or 0.002)
                    file.write(text[cut:])  # also when stopping: a transfer is whole
                    if self.load.stopping.is_set():
                        break

    def transfer(self):
        self.written += 1
        legs, accounts = self.ledger.legs(f"{self.load.generation}f-{self.written}", 1)
        self.ledger.accounts.update(accounts)
        return b"".join(json.dumps({**leg, "count": 1}).encode() + b"\n" for leg in legs)


class Load:
    """Clients and a writer on one run. `port` may change, and is `None` while nobody listens."""

    def __init__(self, run, seed, clients=2, writer=True, transfers_max=4, pause_seconds=0.0, generation="", accounts=ACCOUNTS):
        self.inputs, self.generation = run / "in", generation
        self.inputs.mkdir(exist_ok=True)
        self.port, self.acknowledged, self.legs, self.answers = None, 0, 0, {}
        self.accounts = accounts
        self.transfers_max, self.pause_seconds = transfers_max, pause_seconds
        self.stopping, self.paused, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.log = open(run / "sent.jsonl", "ab", buffering=0)
        self.threads = [Client(self, n, seed * 1000 + n) for n in range(clients)]
        if writer:
            self.threads.append(Writer(self, seed * 1000 + 999))

    def note(self, entry):
        line = json.dumps(entry).encode() + b"\n"
        with self.lock:
            self.log.write(line)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
            if isinstance(thread, Client):
                thread.disconnect()
        self.log.close()


class Flood(threading.Thread):
    """Posts one large body after the other, each but for its last byte, which comes late or never. None of it is valid."""

    BYTES, HELD_SECONDS = 8 << 20, 10
    FILLING = bytes(64 << 10)

    def __init__(self, load):
        super().__init__(daemon=True, name="flood")
        self.load, self.held, self.stopping = load, 0, threading.Event()

    def run(self):
        while not self.stopping.wait(0.2):
            try:
                with socket.create_connection(("127.0.0.1", self.load.port), timeout=self.HELD_SECONDS) as connection:
                    head = f"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {self.BYTES}\r\n\r\n"
                    connection.sendall(head.encode())
                    for _ in range(self.BYTES // len(self.FILLING) - 1):
                        connection.sendall(self.FILLING)
                    connection.sendall(self.FILLING[1:])
                    self.held += 1
                    self.stopping.wait(self.HELD_SECONDS)
            except (OSError, TypeError):
                continue  # refused, or nobody listens


def write_files(inputs, transfers, seed):
    """A fixed number of transfers in three files, for scenarios without clients."""
    rng = random.Random(seed)
    inputs.mkdir(exist_ok=True)
    ledger = Ledger("f", "f", rng)
    lines = []
    for number in range(transfers):
        legs, accounts = ledger.legs(f"f-{number}", 1)
        ledger.accounts.update(accounts)
        lines += [json.dumps({**leg, "count": 1}) for leg in legs]
    third = max(1, len(lines) // 3)
    for number, begin in enumerate(range(0, len(lines), third)):
        (inputs / f"{number:05}.jsonl").write_text("".join(line + "\n" for line in lines[begin : begin + third]))
