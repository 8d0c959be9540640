"""Measures a ledger of ten million events: bytes an event, `ledger verify`, `verify.sh`, all events of one pack.

usage: python benchmarks/ledger.py [--events N] [--work FOLDER] [CASE ...]

Cases: size verify events export script; all by default. The ledger is made once (minutes) and kept in the work folder.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from measuring import MOCBAN, fresh, run

from preservation.configuration import FILE_NAME, TEMPLATE
from preservation.identifiers import new_id
from preservation.ledger.canonical import Json
from preservation.ledger.events import Event, EventType, Record, record_bytes, time_text
from preservation.ledger.files import create_file, replace_file
from preservation.ledger.finding import events_about
from preservation.ledger.keys import create_keys
from preservation.ledger.layout import FORMAT_FILE, note_name
from preservation.ledger.log import Ledger, format_bytes, make_directories
from preservation.ledger.merkle import Frontier, leaf_hash
from preservation.ledger.notes import Checkpoint, sign_note
from preservation.ledger.sealed import Segment, file_sha256, hot_path, keep_cache, segment_path
from preservation.ledger.sealing import closed_event
from preservation.ledger.segments import write_rows
from preservation.ledger.subjects import keep_indexes
from preservation.ledger.wal import encode_batch

EVENTS = 10_000_000
SEGMENT = 65_536
PACKS = 100_000
STORES = 3
CHECKPOINT_EVERY = 997
"""Events between two checkpoints: ten thousand of them, as hourly ones make in a year."""

_BEGINNING = datetime(2016, 1, 1, tzinfo=UTC)
_AGENT = "mocban 0.1.0"


class Making:
    """A ledger that grows as a repository's does: packs are sealed and replicated, then audited again and again."""

    def __init__(self, folder: str, events: int) -> None:
        self.path = os.path.join(folder, "ledger")
        self.folder, self.events = folder, events
        self.dice = random.Random(7)
        self.packs = [self.dice.randbytes(32).hex() for _ in range(min(PACKS, max(1, events // 100)))]
        self.stores = [str(new_id(_BEGINNING, self.dice.randbytes)) for _ in range(STORES)]
        self.fonds = [f"f-{new_id(_BEGINNING, self.dice.randbytes)}" for _ in range(20)]
        self.runs: dict[tuple[int, int], str] = {}
        self.now = _BEGINNING

    def event(self, seq: int) -> Event:
        """Return the event with this number that is not one of the ledger itself."""
        turn, copy = divmod(seq, len(self.packs) * STORES)
        store, number = divmod(copy, len(self.packs))
        detail: dict[str, Json] = {"bytes": 536_870_912 - number * 4096}
        detail |= {"generation": f"{self.dice.getrandbits(64):016x}", "pack": self.packs[number], "reach": "medium"}
        kind = EventType.REPLICATION
        if turn:
            kind = EventType.FIXITY_CHECK
            detail["run"] = self.run_of(turn, store)
        detail["store"] = self.stores[store]
        if turn:
            detail["verdict"] = "verified"
        return Event(type=kind, fonds=self.fonds[number % len(self.fonds)], detail=detail, agent=_AGENT)

    def run_of(self, turn: int, store: int) -> str:
        """Return the identifier of the audit in which a store was read for the n-th time."""
        if (turn, store) not in self.runs:
            self.runs[turn, store] = str(new_id(_BEGINNING + timedelta(days=90 * turn + store), self.dice.randbytes))
        return self.runs[turn, store]

    def records(self, first: int, end: int, before: Segment | None, genesis: Event) -> Iterator[Record]:
        """Yield the records of one segment."""
        for seq in range(first, end):
            self.now += timedelta(milliseconds=self.dice.randrange(5_000, 60_000))
            if seq == first:
                event = genesis if before is None else closed_event(before, _AGENT)
                event_id = str(new_id(self.now, self.dice.randbytes))
                yield Record(seq, event_id, self.now, event, record_bytes(event, seq, event_id, self.now))
            else:
                yield _quick(seq, self.now, self.event(seq), self.dice.getrandbits(74))

    def make(self) -> None:
        """Write the whole of it."""
        for name in ("keys", "kit"):
            os.makedirs(os.path.join(self.folder, name))
        identity = new_id(self.now, self.dice.randbytes)
        origin = f"mocban/{identity}"
        keys = create_keys(*(os.path.join(self.folder, name) for name in ("keys", "kit")), origin, self.dice.randbytes)
        detail = {"log_key": str(keys.log.key), "origin": origin, "root_key": str(keys.root)}
        genesis = Event(type=EventType.GENESIS, detail=detail, agent=_AGENT)
        make_directories(self.path)
        segments: list[Segment] = []
        tree = Frontier()
        last = b""
        for first in range(0, self.events, SEGMENT):
            end = min(first + SEGMENT, self.events)
            path = segment_path(self.path, first, end)
            leaves: list[bytes] = []
            write_rows(path, _hashed(self.records(first, end, segments[-1] if segments else None, genesis), leaves))
            stops = [number for number in range(first + 1, end + 1) if _is_signed(number, end)]
            for start, stop in zip([first, *stops], stops, strict=False):
                tree = tree.extended(leaves[start - first : stop - first])
                signers = [keys.log, keys.root_signer] if stop == 1 else [keys.log]
                note = sign_note(Checkpoint(origin, stop, tree.root()).text(), signers)
                with open(os.path.join(self.path, "checkpoints", note_name(stop)), "wb") as file:
                    file.write(note.encoded())
            last = leaves[-1]
            segments.append(Segment(first, end, os.path.getsize(path), file_sha256(path), last, tree))
            print(f"\r{end:,} events", end="", file=sys.stderr, flush=True)
        closing = closed_event(segments[-1], _AGENT)
        event_id = str(new_id(self.now, self.dice.randbytes))
        hot = encode_batch([record_bytes(closing, self.events, event_id, self.now)], self.events, last)
        create_file(hot_path(self.path, self.events), hot)
        keep_cache(self.path, tuple(segments))
        keep_indexes(self.path, segments)
        replace_file(os.path.join(self.path, FORMAT_FILE), format_bytes(origin))
        replace_file(os.path.join(self.folder, FILE_NAME), TEMPLATE.format(repository=identity, origin=origin).encode())


def _quick(seq: int, now: datetime, event: Event, chance: int) -> Record:
    """Return what the ledger would write for an event whose members are in order and need no escapes."""
    stamp, tail = f"{int(now.timestamp() * 1000):012x}", f"{chance:019x}"
    event_id = f"{stamp[:8]}-{stamp[8:]}-7{tail[1:4]}-{'89ab'[chance & 3]}{tail[4:7]}-{tail[7:]}"
    detail = ",".join(
        f'"{key}":{value}' if key == "bytes" else f'"{key}":"{value}"' for key, value in event.detail.items()
    )
    data = (
        f'{{"agent":"{event.agent}","detail":{{{detail}}},"fonds":"{event.fonds}","id":"{event_id}","outcome":"success",'
        f'"schema":1,"seq":{seq},"time":"{time_text(now)}","type":"{event.type}"}}'
    )
    return Record(seq, event_id, now, event, data.encode())


def _hashed(records: Iterator[Record], leaves: list[bytes]) -> Iterator[Record]:
    for record in records:
        leaves.append(leaf_hash(record.data))
        yield record


def _is_signed(number: int, end: int) -> bool:
    return number in {1, end} or number % CHECKPOINT_EVERY == 0


def _bytes_in(*parts: str) -> int:
    folder = os.path.join(*parts)
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def size(folder: str, events: int) -> list[str]:
    """How many bytes an event takes, and how many the caches add."""
    path = os.path.join(folder, "ledger")
    segments = _bytes_in(path, "segments") / events
    cache = _bytes_in(path, "subjects") / events
    return [f"| bytes an event | {segments:.1f} (and {cache:.1f} of caches that can be made anew) | 160 |"]


def verify(folder: str, events: int) -> list[str]:
    """How long the whole check takes."""
    held = os.path.join(folder, "ledger", "checkpoints", note_name(CHECKPOINT_EVERY))
    options = ["--trusted", os.path.join(folder, "kit", "root.vkey"), "--checkpoint", held]
    done = run([*MOCBAN, "-C", folder, "ledger", "verify", *options])
    return [f"| `ledger verify`, {events:,} events | {done.seconds:.1f} s, {done.peak_kib >> 10} MiB | 60 s |"]


def events_of_a_pack(folder: str, events: int) -> list[str]:
    """How long it takes to find all events of one pack."""
    packs = Making(folder, events).packs
    ledger = Ledger.open(os.path.join(folder, "ledger"), clock=lambda: _BEGINNING, random=os.urandom, read_only=True)
    times: list[float] = []
    found = 0
    for pack in random.Random(1).sample(packs, 20):
        before = time.monotonic()
        found = sum(1 for _ in events_about(ledger, {"pack": {pack}}))
        times.append(time.monotonic() - before)
    whole = run([*MOCBAN, "-C", folder, "events", "--pack", packs[0], "--json"]).seconds
    times.sort()
    told = f"{times[10]:.3f} s ({times[0]:.3f} to {times[-1]:.3f}, n = 20); the whole command {whole:.2f} s"
    return [f"| all events of one pack ({found} of {events:,}) | {told} | 0.2 s |"]


def export(folder: str, events: int) -> list[str]:
    """How long an evidence folder takes."""
    fresh(os.path.join(folder, "evidence"))
    done = run([*MOCBAN, "-C", folder, "ledger", "export", os.path.join(folder, "evidence")])
    return [f"| `ledger export`, {events:,} events | {done.seconds:.1f} s, {done.peak_kib >> 10} MiB | - |"]


def script(folder: str, events: int) -> list[str]:
    """How long an auditor's verification with DuckDB and OpenSSL takes."""
    command = [
        "sh",
        os.path.join(folder, "evidence", "verify.sh"),
        "--key",
        os.path.join(folder, "keys", "log.pub.pem"),
    ]
    tools = {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    done = run(command, environment=tools)
    return [f"| `verify.sh`, {events:,} events | {done.seconds:.0f} s, {done.peak_kib >> 10} MiB | - |"]


CASES = {"size": size, "verify": verify, "events": events_of_a_pack, "export": export, "script": script}


def main() -> None:
    """Make the ledger if it is not there, run the cases asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "mocban-bench-ledger"))
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=list(CASES))
    arguments = parser.parse_args()
    folder = os.path.join(arguments.work, str(arguments.events))
    if not os.path.exists(os.path.join(folder, FILE_NAME)):
        fresh(folder)
        os.makedirs(folder)
        before = time.monotonic()
        Making(folder, arguments.events).make()
        print(f"\nmade in {time.monotonic() - before:.0f} s", file=sys.stderr)
    print("| what | measured | limit |\n| --- | --- | --- |", flush=True)
    for case in arguments.cases or list(CASES):
        for line in CASES[case](folder, arguments.events):
            print(line, flush=True)


if __name__ == "__main__":
    main()
