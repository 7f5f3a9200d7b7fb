#!/usr/bin/env python3
"""A connector of the Airbyte protocol that does what its configuration tells it to.

`count` records are sent from where the state says on, with a state after every `every` of them; `die` after so many. Or else
`steps` are taken, one after another.
"""
import json
import os
import subprocess
import sys
import time

command, given = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))


def load(flag):
    path = given.get(flag)
    return json.load(open(path, encoding="utf-8")) if path else None


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")


def record(data, stream="numbers", **more):
    say({"type": "RECORD", "record": {"stream": stream, "data": data, "emitted_at": 1, **more}})


config, catalog, state = load("--config"), load("--catalog"), load("--state")

if command == "spec":
    wanted = {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}
    say({"type": "SPEC", "spec": {"connectionSpecification": wanted}})
elif command == "check":
    status = {"status": "SUCCEEDED"} if "broken" not in config else {"status": "FAILED", "message": config["broken"]}
    say({"type": "CONNECTION_STATUS", "connectionStatus": status})
elif command == "discover":
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    one = {"name": "numbers", "json_schema": schema, "supported_sync_modes": ["full_refresh", "incremental"],
           "source_defined_primary_key": [["n"], ["a", "b/c"]], "default_cursor_field": ["n"]}
    two = {"name": "numbers", "namespace": "other", "json_schema": schema, "supported_sync_modes": ["full_refresh"]}
    say({"type": "CATALOG", "catalog": {"streams": [one, two]}})
elif "count" in config:
    first = state["n"] if state else 0
    for n in range(first, config["count"]):
        if n - first == config.get("die"):
            sys.stdout.flush()
            sys.exit(7)
        record({"n": n, "pad": "x" * config.get("pad", 0)})
        if (n + 1) % config["every"] == 0:
            say({"type": "STATE", "state": {"data": {"n": n + 1}}})
else:
    for step in config["steps"]:
        (kind, value), = step.items()
        if kind == "say":
            say(value)
        elif kind == "raw":
            sys.stdout.write(value)
        elif kind == "record":
            record(value)
        elif kind == "records":
            for n in range(value["count"]):
                record({"n": n, "pad": "x" * value["pad"]})
        elif kind == "echo":
            mode = oct(os.stat(given["--config"]).st_mode & 0o777)
            record({"state": state, "catalog": catalog, "environment": sorted(os.environ), "mode": mode,
                    "directory": os.getcwd(), "config": given["--config"]})
        elif kind == "stderr":
            print(value, file=sys.stderr)
        elif kind == "allocate":
            held = [bytearray(1 << 20) for _ in range(value)]
        elif kind == "spawn":
            record({"pid": subprocess.Popen(["sleep", "1000"]).pid})
        elif kind == "sleep":
            sys.stdout.flush()
            time.sleep(value)
        elif kind == "exit":
            sys.stdout.flush()
            sys.exit(value)
