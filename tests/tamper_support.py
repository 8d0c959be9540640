"""Honest ledgers and forged ones: thirteen ways to tamper, each with as much skill as the forger's luck allows.

A forger without a key alters one file (raw) or writes everything consistently anew and leaves the signatures as they
were (rebuilt); one who stole the log key signs everything again (resigned). The auditor holds the public log key and an
older checkpoint that a witness has countersigned.
"""

import base64
import json
import random
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256, sha512
from pathlib import Path

from preservation.identifiers import new_id
from preservation.ledger.canonical import canonical
from preservation.ledger.events import EventType, parse_record, time_text
from preservation.ledger.files import reading_at
from preservation.ledger.folder import _TEXTS, _key_files
from preservation.ledger.held import Held
from preservation.ledger.keys import KeyPeriod, create_key
from preservation.ledger.layout import hot_name, note_name, segment_name
from preservation.ledger.log import format_bytes
from preservation.ledger.merkle import NO_LEAF, Frontier, leaf_hash
from preservation.ledger.notes import Checkpoint, Note, Signature, SignedCheckpoint, sign_note
from preservation.ledger.segments import read_rows, write_rows
from preservation.ledger.wal import Frame, encode_batch, frames

ORIGIN = "kho.example.vn/ledger"
WITNESS = "witness.example.vn"
SEGMENT = 19
FORMS = ("folder", "ledger")
MODES = ("raw", "rebuilt", "resigned")


@dataclass(frozen=True)
class Keys:
    """A log key and a root key, with their private halves in a folder."""

    folder: Path

    @cached_property
    def log(self):
        return self._made("log", ORIGIN)

    @cached_property
    def root(self):
        return self._made("root", f"{ORIGIN}/root")

    def _made(self, name, owner):
        path = self.folder / f"{name}.pem"
        self.folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return create_key(str(path), owner, random.Random(f"{self.folder.name} {name}").randbytes)


@dataclass
class Story:
    """What happened, before it is numbered: events without ``seq``; which sizes were signed, which was witnessed."""

    keys: Keys
    events: list
    stops: list
    witnessed: int
    limit: int | None = None
    records: list = field(default_factory=list)
    notes: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)

    def told(self):
        """Number and weave everything: closings of segments, the note of the witness, checkpoints."""
        self.records, self.notes, self.files = [], {}, {}
        for event in self.events:
            if len(self.records) and len(self.records) % SEGMENT == 0:
                self._add(self._closing(event))
            witnessed = event["type"] == EventType.WITNESSED
            self._add(event | {"detail": self._witnessing(event)} if witnessed else event)
        self.records = self.records[: self.limit]
        size = len(self.records)
        for stop in sorted({1, size, *(stop for stop in self.stops if stop < size)}):
            self.notes[stop] = self._note(stop).encoded()
        return self

    def _add(self, event):
        if self.limit is None or len(self.records) < self.limit:
            self.records.append(canonical(event | {"seq": len(self.records)}))

    def _note(self, size):
        signers = [self.keys.log, self.keys.root] if size == 1 else [self.keys.log]
        root = Frontier().extended(map(leaf_hash, self.records[:size])).root()
        return sign_note(Checkpoint(ORIGIN, size, root).text(), signers)

    def _closing(self, event):
        first, end = len(self.records) - SEGMENT, len(self.records)
        data = _parquet([parse_record(record) for record in self.records[first:end]])
        self.files[first, end] = data
        detail = {"bytes": len(data), "end": end, "first": first, "sha256": sha256(data).hexdigest()}
        return event | {"type": EventType.SEGMENT_CLOSED, "detail": detail, "fonds": None}

    def _witnessing(self, event):
        size = min(self.witnessed, len(self.records))
        data = countersigned(self._note(size)).encoded()
        name = f"witness/{size:012d}.note"
        self.files[name] = data
        return event["detail"] | {"size": size, "attestations": {name: sha256(data).hexdigest()}}


def countersigned(note):
    """Return a note with the line of the witness, whose key nobody steals."""
    line = sha512(b"secret of the witness" + note.text.encode()).digest() + bytes(8)
    return Note(note.text, (*note.signatures, Signature(WITNESS, b"wtns", line)))


_PARQUET = {}


def _parquet(records):
    key = tuple(record.data for record in records)
    if key not in _PARQUET:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "segment.parquet")
            write_rows(str(path), records)
            _PARQUET[key] = path.read_bytes()
        if len(_PARQUET) > 500:
            _PARQUET.pop(next(iter(_PARQUET)))
    return _PARQUET[key]


def an_event(dice, time, **more):
    """Return an event as a repository has thousands of."""
    checked = {
        "bytes": dice.randrange(1 << 30),
        "pack": dice.randbytes(32).hex(),
        "run": str(new_id(time, dice.randbytes)),
        "store": dice.choice("abc"),
    }
    return {
        "agent": "tester",
        "detail": checked,
        "fonds": dice.choice(["f-1", "f-2", None]),
        "id": str(new_id(time, dice.randbytes)),
        "outcome": dice.choice(["success", "success", "failure"]),
        "schema": 1,
        "time": time_text(time),
        "type": dice.choice(["fixity check", "replication", "tag:mocban,2026:repair"]),
    } | more


def honest(folder, seed, *, grown=True):
    """Return a story of some dozens of events; the auditor's checkpoint is over ``witnessed`` of them."""
    dice = random.Random(f"honest {seed}")
    keys = Keys(folder / f"keys-{seed}")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    detail = {"log_key": str(keys.log.key), "origin": ORIGIN, "root_key": str(keys.root.key)}
    events = [an_event(dice, now, type=EventType.GENESIS, detail=detail, fonds=None, outcome="success")]
    count = dice.randrange(30, 60)
    for number in range(count):
        now += timedelta(seconds=dice.randrange(1, 9999))
        witness = {"type": EventType.WITNESSED, "fonds": None} if number == count * 2 // 3 + 2 else {}
        events.append(an_event(dice, now, **witness))
    witnessed = count * 2 // 3
    stops = [witnessed, *dice.sample(range(2, count), 4)]
    if not grown:
        stops = [stop for stop in stops if stop <= witnessed]
    return Story(keys, events, stops, witnessed).told()


def held_of(story):
    """Return the checkpoint that the auditor keeps."""
    note = countersigned(SignedCheckpoint.parse(story.notes[story.witnessed]).note)
    return Held("kept.note", SignedCheckpoint.parse(note.encoded()))


def write_out(story, path, form, notes=None):
    """Write a story as a ledger or as an evidence folder; ``notes`` in place of its own."""
    path = Path(path)
    shutil.rmtree(path, ignore_errors=True)
    for name in ("segments", "checkpoints", "witness", *(("hot",) if form == "ledger" else ("keys",))):
        (path / name).mkdir(parents=True)
    size = len(story.records)
    sealed = (size - 1) // SEGMENT * SEGMENT if size else 0
    for first in range(0, sealed, SEGMENT):
        end = first + SEGMENT
        (path / "segments" / segment_name(first, end)).write_bytes(
            story.files.get((first, end)) or _parquet([parse_record(one) for one in story.records[first:end]])
        )
    if form == "ledger":
        write_hot(path / "hot" / hot_name(sealed), story.records[sealed:], sealed, story.records[:sealed])
    else:
        data = _parquet([parse_record(record) for record in story.records[sealed:]])
        (path / "segments" / segment_name(sealed, size)).write_bytes(data)
        write_keys(path, story.keys)
        for name, text, _ in _TEXTS:
            shutil.copy(Path(__file__).parent.parent / "preservation/ledger" / text, path / name)
    for stop, note in (story.notes if notes is None else notes).items():
        (path / "checkpoints" / note_name(stop)).write_bytes(note)
    for name, data in story.files.items():
        if isinstance(name, str):
            (path / name).write_bytes(data)
    (path / "format.json").write_bytes(format_bytes(ORIGIN))
    return path


def write_keys(path, keys):
    for name, data in _key_files([KeyPeriod(keys.log.key, 1, None)], keys.root.key).items():
        (path / "keys" / name).write_bytes(data)


def write_hot(path, records, first, before):
    previous = leaf_hash(before[-1]) if before else NO_LEAF
    path.write_bytes(encode_batch(records, first, previous) if records else b"")


def parts_of(path):
    """Return the files that hold events, in order."""
    return [*sorted((path / "segments").iterdir()), *sorted((path / "hot").glob("*.wal"))]


def read_part(part):
    if part.suffix == ".parquet":
        return [parse_record(data) for rows in read_rows(str(part)) for data in rows.records]
    with part.open("rb") as file:
        found = frames(reading_at(file.fileno(), ""), 0, part.stat().st_size)
        return [parse_record(frame.record) for frame in found if isinstance(frame, Frame)]


def write_part(part, records):
    if part.suffix == ".parquet":
        part.unlink()
        write_rows(str(part), records)
    else:
        with part.open("rb") as file:
            first = next(frames(reading_at(file.fileno(), ""), 0, part.stat().st_size))
        part.write_bytes(encode_batch([record.data for record in records], int(part.stem), first.previous))


def edited(record, **changes):
    return parse_record(canonical(json.loads(record.data) | changes))


def renumbered(records, first):
    return [record if record.seq == seq else edited(record, seq=seq) for seq, record in enumerate(records, first)]


# What a forger does to a list of events; ``at`` is where. Each gives another list.


def reorder(events, at, dice):
    other = dice.choice([index for index in range(len(events)) if index != at])
    events[at], events[other] = events[other], events[at]


def edit(events, at, dice):
    detail = events[at]["detail"]
    key = dice.choice(["outcome", "agent", "pack"])
    if key == "pack":
        events[at] = events[at] | {"detail": detail | {"pack": dice.randbytes(32).hex()}}
    elif key == "agent":
        events[at] = events[at] | {"agent": "somebody else"}
    else:
        events[at] = events[at] | {"outcome": "warning"}


def delete(events, at, _dice):
    del events[at]


def insert(events, at, dice):
    events.insert(at, an_event(dice, datetime(2026, 1, 2, tzinfo=UTC)))


def duplicate(events, at, _dice):
    events.insert(at, dict(events[at]))


def back_date(events, at, dice):
    earlier = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.randrange(10**6), microseconds=7)
    events[at] = events[at] | {"time": time_text(earlier)}


def truncate(events, at, _dice):
    del events[at:]


LISTS = {
    "truncate": truncate,
    "reorder": reorder,
    "edit": edit,
    "delete": delete,
    "insert": insert,
    "duplicate": duplicate,
    "back-date": back_date,
}


def forge_list(kind, story, path, form, dice):
    """Alter the events themselves, with one of three skills."""
    mode = dice.choice(MODES)
    change = LISTS[kind]
    if mode == "raw":
        write_out(story, path, form)
        part = dice.choice([part for part in parts_of(path) if len(read_part(part)) > 2])
        records = read_part(part)
        first = records[0].seq
        events = [json.loads(record.data) for record in records]
        change(events, dice.randrange(1, len(events) - 1), dice)  # an event after the last checkpoint is growth
        records = [parse_record(canonical({"seq": seq} | event)) for seq, event in enumerate(events, first)]
        write_part(part, renumbered(records, first) if dice.random() < 0.7 else records)
        return mode
    events = list(story.events)
    # Only what lies before the auditor's checkpoint can be told from honest growth, if the key is stolen.
    change(events, dice.randrange(1, story.witnessed - 3), dice)
    forged = replace(story, events=events).told()
    size = len(forged.records)
    honest_notes = {stop: note for stop, note in story.notes.items() if stop <= size}
    write_out(forged, path, form, honest_notes if mode == "rebuilt" else None)
    return mode


def fork(story, path, form, dice):
    """Tell another history from some event on, and sign it with the stolen log key."""
    at = dice.randrange(1, story.witnessed - 3)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    events = story.events[:at] + [an_event(dice, now) for _ in range(len(story.events) - at + dice.randrange(4))]
    write_out(replace(story, events=events).told(), path, form)


def roll_back(story, path, form, dice):
    """Put an honest earlier state in place of the present one, log and checkpoints together."""
    limit = dice.randrange(2, story.witnessed)
    write_out(replace(story, limit=limit).told(), path, form)


def swap_segment(story, path, form, dice):
    """Exchange two segments, or put one of another ledger in place of one."""
    write_out(story, path, form)
    parts = [part for part in parts_of(path) if part.suffix == ".parquet"]
    one, other = dice.choice(parts), dice.choice(parts)
    if one != other:
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        strange = honest(story.keys.folder.parent, f"other {dice.randrange(5)}")
        first = int(one.name[:12])
        records = [parse_record(data) for data in strange.records[first : first + SEGMENT]]
        write_part(one, records[: int(one.name[13:25]) - first])


def drop_witness(story, path, form, dice):
    """Remove what the witness said, or a line of it."""
    write_out(story, path, form)
    note = path / f"witness/{story.witnessed:012d}.note"
    how = dice.randrange(3)
    if how == 0:
        note.unlink()
    elif how == 1:
        lines = note.read_bytes().splitlines(keepends=True)
        note.write_bytes(b"".join(line for line in lines if b"witness" not in line))
    else:
        forged = f"— {WITNESS} {base64.b64encode(b'wtns' + dice.randbytes(72)).decode()}\n".encode()
        lines = note.read_bytes().splitlines(keepends=True)
        note.write_bytes(b"".join(forged if b"witness" in line else line for line in lines))


def replace_key(story, path, form, dice):
    """Put the forger's own log key, or both keys, into the genesis, or into the folder, and sign everything with it."""
    own = Keys(story.keys.folder.parent / f"forger-{dice.randrange(3)}")
    how = dice.randrange(3) if form == "folder" else dice.randrange(2)
    if how == 2:
        write_out(story, path, form)
        write_keys(path, own)
        return
    detail = story.events[0]["detail"] | {"log_key": str(own.log.key)}
    if how == 1:
        detail |= {"root_key": str(own.root.key)}
    events = [story.events[0] | {"detail": detail}, *story.events[1:]]
    write_out(replace(story, keys=own, events=events).told(), path, form)


def change_column(story, path, form, dice):
    """Change a typed column and leave the record as it was."""
    write_out(story, path, form)
    part = dice.choice([part for part in parts_of(path) if part.suffix == ".parquet"])
    records = read_part(part)
    at = dice.randrange(len(records))
    record = records[at]
    how = dice.choice(["outcome", "fonds", "agent", "type", "time", "id", "pack", "run"])
    if how == "time":
        record = replace(record, time=record.time + timedelta(microseconds=1))
    elif how == "id":
        record = replace(record, event_id=str(new_id(record.time, dice.randbytes)))
    elif how in {"pack", "run"}:
        record = replace(record, event=replace(record.event, detail={**record.event.detail, how: "0" * 64}))
    else:
        changes = {"outcome": "warning", "fonds": "f-9", "agent": "nobody", "type": "deletion"}
        record = replace(record, event=replace(record.event, **{how: changes[how]}))
    write_part(part, [*records[:at], record, *records[at + 1 :]])


WHOLE = {
    "fork and re-sign": fork,
    "roll back log and checkpoint": roll_back,
    "swap segment": swap_segment,
    "drop witness line": drop_witness,
    "replace key": replace_key,
    "column changed, record not": change_column,
}
KINDS = (*LISTS, *WHOLE)


def tamper(kind, story, path, form, dice):
    """Write a forged ledger or folder at ``path``; return how it was done."""
    if kind in LISTS:
        return forge_list(kind, story, path, form, dice)
    WHOLE[kind](story, path, form, dice)
    return kind
