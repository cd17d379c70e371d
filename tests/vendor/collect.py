"""Gathers real requests for the vendors' code to read: what `explain` prints for the example with
all platforms (lines of NDJSON on standard input), and every fixture's.

    collect.py PLATFORM < explained.ndjson > requests.json
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def explained(platform, lines):
    """(name, incoming event, body) of each request to a platform; the events stand beside."""
    events = ROOT / "config/examples/all-platforms/events"
    by_id = {e["event_id"]: e for e in (json.loads(p.read_text()) for p in events.glob("*.json"))}
    for line in lines:
        shown = json.loads(line)
        event = by_id[shown["event_id"]]
        requests = shown["destinations"][platform]["requests"]
        if not requests:
            sys.exit(f"explain sends {shown['event']} not to {platform}: {line}")
        for request in requests:
            yield f"explain {shown['event']}", event, request["body"]


def fixtures(platform):
    for folder in sorted((ROOT / "tests/fixtures" / platform).iterdir()):
        snapshot = folder / "request.snap"
        if snapshot.exists():
            event = json.loads((folder / "event.json").read_text())
            text = snapshot.read_text().split("---\n", 2)[2]
            for request in json.loads(text).get("requests", []):
                yield f"fixture {folder.name}", event, request["body"]


platform = sys.argv[1]
found = [*explained(platform, sys.stdin), *fixtures(platform)]
json.dump([{"name": n, "event": e, "body": b} for n, e, b in found], sys.stdout, indent=1)
