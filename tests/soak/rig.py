"""What the campaigns run: the program over a directory, a webhook receiver that answers as a seed says, a private PostgreSQL, a
proxy before it, an ext4 image whose power can be cut."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CATALOG = Path(__file__).resolve().parent / "bank.flow.yaml"
START_SECONDS_MAX = 60
FREEZE_SECONDS_MAX = 30
SETTLE_SECONDS_MAX = 120


class Stuck(Exception):
    """The program did not do in time what it must do."""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Program:
    """One run's directory, and the program over it."""

    def __init__(self, binary, run, data=None, sqlite=True, webhook=None, postgres=None, shards=None, log="stderr.log", tables=None):
        self.binary, self.run = str(binary), Path(run)
        self.data = Path(data) if data else self.run
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / "in").mkdir(exist_ok=True)
        self.process, self.port, self.starts, self.shards = None, None, 0, shards
        self.log = self.run / log
        self.database = self.data / "bank.db"
        self.catalog = self.run / "flow.yaml"
        self.catalog.write_text(json.dumps(catalog(self.run, self.database if sqlite else None, webhook, postgres, tables), indent=1))

    def command(self, *more):
        shards = ["--shards", str(self.shards)] if self.shards else []
        return [self.binary, "develop", "--source", str(self.catalog), "--directory", str(self.data), "--port", "0"] + shards + [*more]

    def start(self, *more, before=(), **env):
        """Starts it; it may not listen yet."""
        self.starts += 1
        self.stderr = open(self.log, "ab")
        self.stderr.write(f"--- start {self.starts} {env}\n".encode())
        self.stderr.flush()
        self.port = None
        self.process = subprocess.Popen(
            [*before, *self.command(*more)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, **env},
            bufsize=0,
        )
        self.listening = threading.Event()
        threading.Thread(target=self.listen, args=(self.process, self.listening), daemon=True).start()

    def listen(self, process, listening):
        for line in process.stdout:
            if line.startswith(b"Listening at:"):
                self.port = int(line.rsplit(b":", 1)[1])
                listening.set()
        listening.set()

    def ready(self):
        """Waits until it listens; `False` if it ended before."""
        if not self.listening.wait(START_SECONDS_MAX):
            raise Stuck(f"it does not listen after {START_SECONDS_MAX} s")
        return self.port is not None

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def freeze(self):
        """Stops it with all its threads, as a power cut would: each between two steps, or in the midst of a call of which it
        will not hear. Only `kill` follows."""
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + FREEZE_SECONDS_MAX
        while self.process.poll() is None:
            states = set()
            for stat in Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
                with contextlib.suppress(OSError):
                    states.add(stat.read_text().rsplit(")", 1)[1].split()[0])
            if "T" in states and states <= set("TDZX"):
                return
            if time.monotonic() > deadline:
                raise Stuck(f"it does not stop: its threads are {sorted(states)}")
            time.sleep(0.0005)

    def wait(self, seconds=SETTLE_SECONDS_MAX):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stuck(f"it does not end after {seconds} s") from None
        self.stderr.close()
        return code

    def stop(self):
        """Asks it to end in order."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def settle(self, **env):
        """Lets it process what is there and end; how long that took in seconds."""
        begun = time.monotonic()
        self.start("--poll", **env)
        try:
            code = self.wait()
        except Stuck:
            self.kill()
            raise
        if code != 0:
            raise Stuck(f"it ended with {code}: {self.last_words()}")
        return time.monotonic() - begun

    def last_words(self):
        return self.log.read_text(errors="replace")[-600:]


def catalog(run, sqlite, webhook, postgres, tables):
    """The bank, captures of its files, and the destinations that are wanted, with all tables or some."""

    def files(target):
        return {
            "endpoint": {"airbyteSource": {"image": "segtide/source-file:v1", "config": {"root": str(run / "in")}}},
            "bindings": [{"resource": {"stream": "*.jsonl", "syncMode": "incremental"}, "target": target}],
        }

    bindings = [
        {"resource": {"table": "log"}, "source": "bank/log"},
        {"resource": {"table": "merged"}, "source": "bank/merged"},
        {"resource": {"table": "running"}, "source": "bank/running"},
        {"resource": {"table": "log_deltas", "delta_updates": True}, "source": "bank/log"},
        {"resource": {"table": "merged_deltas", "delta_updates": True}, "source": "bank/merged"},
    ]
    bindings = [binding for binding in bindings if not tables or binding["resource"]["table"] in tables]
    whole = {
        "import": [os.path.relpath(CATALOG, run)],
        "captures": {"bank/files-log": files("bank/log"), "bank/files-merged": files("bank/merged")},
        "materializations": {},
    }
    if sqlite:
        whole["materializations"]["bank/tables"] = {"endpoint": {"sqlite": {"path": str(sqlite)}}, "bindings": bindings}
    if postgres:
        image = {"image": "segtide/materialize-postgres:v1", "config": postgres}
        whole["materializations"]["bank/postgres"] = {"endpoint": {"flowSink": image}, "bindings": bindings}
    if webhook:
        image = {"image": "segtide/materialize-webhook:v1", "config": {"address": webhook}}
        binding = {"resource": {"relativePath": "/log"}, "source": "bank/log"}
        whole["materializations"]["bank/webhook"] = {"endpoint": {"flowSink": image}, "bindings": [binding]}
    return whole


class Receiver:
    """A webhook that records every request whole before it answers as its script says: an answer is a status, `timeout`, which
    records and never answers, or `reset`."""

    def __init__(self, log, script=lambda rng: 200, seed=0):
        self.log, self.rng, self.lock = open(log, "ab", buffering=0), random.Random(seed), threading.Lock()
        self.script, self.faults, self.connections = script, 0, set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                # A sender that dies in the middle of a body has not sent it.
                if len(body) < length or outer.receive(self, body):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a sender that was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def receive(self, handler, body):
        with self.lock:
            answer = self.script(self.rng)
            entry = {"id": handler.headers["webhook-id"], "path": handler.path, "body": body.decode(), "answer": answer}
            self.log.write(json.dumps(entry).encode() + b"\n")
            self.faults += answer != 200
        if answer == "timeout":
            time.sleep(31)
            return True
        if answer == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            return True
        handler.send_response(answer)
        if answer in (429, 503):
            handler.send_header("retry-after", "1")
        handler.send_header("content-length", "0")
        handler.end_headers()
        return False

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.log.close()


class Postgres:
    """A cluster of its own, made once; a database per run."""

    def __init__(self, max_connections=60):
        places = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if not shutil.which("initdb") else [Path(shutil.which("initdb")).parent]
        self.bin, self.port, self.server = places[-1], free_port(), None
        self.directory = Path(tempfile.mkdtemp(prefix="segtide-postgres-"))
        self.settings = {"max_connections": max_connections, "shared_buffers": "64MB", "autovacuum": "off", "max_wal_size": "256MB"}
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        if self.as_user:
            shutil.chown(self.directory, "postgres", "postgres")
        secret = self.directory / "secret"
        secret.write_text("secret")
        made = self.program("initdb", "-D", self.data, "-U", "segtide", "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256")
        if made.returncode:
            raise RuntimeError(made.stderr)
        self.start()

    @property
    def data(self):
        return self.directory / "data"

    def program(self, name, *arguments):
        command = [*self.as_user, str(self.bin / name), *map(str, arguments)]
        return subprocess.run(command, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def start(self):
        """Starts it, or starts it again, and waits until it answers."""
        settings = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [*self.as_user, str(self.bin / "postgres"), "-D", str(self.data), "-k", str(self.directory), "-p", str(self.port)]
        deadline = time.monotonic() + 60
        with open(self.directory / "log", "ab") as log:
            while time.monotonic() < deadline:
                if self.server is None or self.server.poll() is not None:
                    self.server = subprocess.Popen([*command, *settings], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                if self.sql("SELECT 1", "postgres", check=False) == "1":
                    return
                time.sleep(0.05)
        raise Stuck("PostgreSQL does not start")

    def stop(self, mode):
        """`fast`, `immediate`, or `kill`, which is `kill -9` of the server."""
        if mode == "kill":
            self.server.kill()
            self.server.wait()
        else:
            self.program("pg_ctl", "stop", "-m", mode, "-D", self.data)
            self.server.wait(60)

    def sql(self, text, database, check=True):
        done = subprocess.run(["psql", self.conninfo(database), "-XqtA", "-v", "ON_ERROR_STOP=1", "-c", text], capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def conninfo(self, database, port=None):
        return f"host=127.0.0.1 port={port or self.port} user=segtide password=secret dbname={database} connect_timeout=10"

    def config(self, database, port=None):
        return {"host": "127.0.0.1", "port": port or self.port, "user": "segtide", "password": "secret", "database": database}

    def close(self):
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """Stands before PostgreSQL. Understands as much of its protocol as finding `COMMIT` takes.

    `plan(n)` says what becomes of the n-th commit of all connections: `pass`; `drop_reply`, which lets the server commit and
    then breaks the connection; `reset_before`, which breaks it before the server hears of the commit. `bytes_per_second`
    throttles what goes to the server."""

    def __init__(self, to, plan=lambda n: "pass", bytes_per_second=None):
        self.to, self.plan, self.bytes_per_second = to, plan, bytes_per_second
        self.commits, self.faults, self.lock = 0, 0, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to), timeout=10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            muted = threading.Event()
            threading.Thread(target=self.forward, args=(client, server, muted), daemon=True).start()
            threading.Thread(target=self.back, args=(server, client, muted), daemon=True).start()

    def forward(self, client, server, muted):
        """Client to server, message by message after the first, which has no type."""
        buffer, typed = b"", False
        try:
            while True:
                while True:
                    head = 5 if typed else 4
                    if len(buffer) < head:
                        break
                    length = struct.unpack("!I", buffer[head - 4 : head])[0] + head - 4
                    if len(buffer) < length:
                        break
                    message, buffer = buffer[:length], buffer[length:]
                    if not typed and struct.unpack("!I", message[4:8])[0] not in (80877103, 80877104):
                        typed = True  # a request for TLS comes before the start
                    what = "pass"
                    if message[:1] == b"Q" and message[5:].upper().startswith(b"COMMIT"):
                        with self.lock:
                            self.commits += 1
                            what = self.plan(self.commits)
                            self.faults += what != "pass"
                    if what == "reset_before":
                        return
                    if what == "drop_reply":
                        muted.set()
                    self.send(server, message)
                    if what == "drop_reply":
                        time.sleep(0.3)  # by then the server has committed
                        return
                data = client.recv(65536)
                if not data:
                    return
                buffer += data
        except OSError:
            pass
        finally:
            for one in (client, server):
                try:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def send(self, server, message):
        for begin in range(0, len(message), 4096):
            piece = message[begin : begin + 4096]
            server.sendall(piece)
            if throttle := self.bytes_per_second:  # it may be lifted meanwhile
                time.sleep(len(piece) / throttle)

    def back(self, server, client, muted):
        try:
            while data := server.recv(65536):
                if not muted.is_set():
                    client.sendall(data)
        except OSError:
            pass
        finally:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


class Group:
    """A control group whose processes have so much memory, of either version of groups; the kernel kills what takes more."""

    ROOT = Path("/sys/fs/cgroup")

    def __init__(self, megabytes):
        first = (self.ROOT / "memory").is_dir()
        self.path = (self.ROOT / "memory" if first else self.ROOT) / f"segtide-{os.getpid()}"
        self.path.mkdir()
        limit, self.events = ("memory.limit_in_bytes", "memory.oom_control") if first else ("memory.max", "memory.events")
        (self.path / limit).write_text(str(megabytes << 20))

    @classmethod
    def is_there(cls):
        controllers = cls.ROOT / "cgroup.subtree_control"
        return os.access(cls.ROOT / "memory", os.W_OK) or (controllers.exists() and "memory" in controllers.read_text())

    def enter(self):
        """What a command is to begin with: a shell that enters the group and becomes the command."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs; exec "$@"', "sh"]

    def killed(self):
        lines = dict(line.split() for line in (self.path / self.events).read_text().splitlines())
        return int(lines.get("oom_kill", 0))

    def close(self):
        self.path.rmdir()


class Disk:
    """An ext4 file system on a loop device. `cut` is a power cut: what was not synced is gone.

    Whoever writes to it has to be frozen before. ext4 that is shut down answers calls that were under way, and an `fdatasync`
    among them may succeed whose data is lost, because the extents it wrote could not be marked as written any more. After a
    power cut nobody would be there to hear of that, let alone to pass it on."""

    SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, struct.pack("I", 2)

    def __init__(self, megabytes=768, block=4096, mode="ordered"):
        self.directory = Path(tempfile.mkdtemp(prefix="segtide-disk-"))
        self.image, self.root, self.mode = self.directory / "image", self.directory / "mount", mode
        self.root.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-b", str(block), "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image)], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", f"loop,data={self.mode}", str(self.image), str(self.root)], check=True)

    def cut(self):
        root = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(root, self.SHUTDOWN, self.WITHOUT_FLUSHING)
        finally:
            os.close(root)

    def restore(self):
        """Once nobody uses it any more: mounts it again, which replays its journal."""
        for _ in range(200):
            if subprocess.run(["umount", str(self.root)], capture_output=True).returncode == 0:
                break
            time.sleep(0.02)
        else:
            raise Stuck("the file system cannot be unmounted")
        self.mount()

    def close(self):
        subprocess.run(["umount", "-l", str(self.root)], capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)
