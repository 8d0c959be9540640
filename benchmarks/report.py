"""Measures a report over a repository with a long history; the packs themselves are not there. At most 512 MiB.

usage: python benchmarks/report.py FOLDER [--objects N] [--pdf]
       python benchmarks/report.py FOLDER --ledger FOLDER [--pdf]

The first makes a repository of so many objects by events alone; the second takes the ledger of ten million events that
``benchmarks/ledger.py`` has made, and gives it the catalog that belongs to it. What is there already is measured again.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ledger import Making
from measuring import MOCBAN, run
from million import _index

from preservation.attachment import add
from preservation.catalog import door, rows
from preservation.catalog.rows import CopyRow, FondsRow, PackRow, Row, StoreRow
from preservation.configuration import FILE_NAME
from preservation.creation import create, open_repository
from preservation.fixity import blake3_hex
from preservation.fonds import open_fonds
from preservation.ledger.events import Event, EventType, time_text
from preservation.repository import Repository, World
from preservation.sidecars import index_name

LIMIT_KIB = 512 << 10
PER_PACK = 500
AT_ONCE = 5_000
IDENTIFIED, LOOKED_AT, WRONG = 0.97, 0.9, 4e-5
"""Shares of files with a format, of copies that an audit looks at, of looks that find a copy not good."""

ROUNDS = 30
FONDS = (
    ("UBND-TH", "Ủy ban nhân dân tỉnh Thanh Hóa"),
    ("STNMT", "Sở Tài nguyên và Môi trường"),
    ("DC-NL", "Địa chính huyện Ngọc Lặc"),
    ("HT-1954", "Hộ tịch 1954-1975"),
    ("TAND", "Tòa án nhân dân tỉnh"),
    ("SXD", "Sở Xây dựng"),
    ("BANDO", "Bản đồ và ảnh chụp từ máy bay"),
)
STORES = (
    ("disk1", "provincial archive", "Seagate", "archive"),
    ("disk2", "provincial archive", "Toshiba", "archive"),
    ("partner", "partner archive", "Western Digital", "partner"),
)
FORMATS = ("fmt/95", "fmt/353", "fmt/276", "fmt/412", "fmt/40", "fmt/43", "x-fmt/111", "fmt/134", "fmt/199", "fmt/101")


class Calendar:
    """A time that is set day by day, and goes on by a moment whenever somebody looks."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        """Return the time."""
        self.now += timedelta(microseconds=20)
        return self.now


def main() -> None:
    """Make the repository if it is missing; measure."""
    asked = argparse.ArgumentParser()
    asked.add_argument("folder")
    asked.add_argument("--objects", type=int, default=1_000_000)
    asked.add_argument("--ledger", default="")
    asked.add_argument("--pdf", action="store_true")
    arguments = asked.parse_args()
    folder = os.path.abspath(arguments.folder)
    if not os.path.isdir(folder):
        os.makedirs(folder)
        if arguments.ledger:
            adopt(folder, os.path.abspath(arguments.ledger))
        else:
            make(folder, arguments.objects // PER_PACK)
    repository = os.path.join(folder, "repository")
    for number in range(2):
        path = os.path.join(folder, f"report.{'pdf' if arguments.pdf else 'html'}")
        done = run([*MOCBAN, "-C", repository, "report", path, "--language", "vi", "--from", "2000-01-01"])
        print(f"run {number + 1}: {done.seconds:.1f} s, peak {done.peak_kib / 1024:.0f} MiB")
        if done.peak_kib > LIMIT_KIB:
            sys.exit(f"more than {LIMIT_KIB / 1024:.0f} MiB")


def adopt(folder: str, made: str) -> None:
    """Link a ledger that was made without a repository, and write the rows that its events would have made."""
    path = os.path.join(folder, "repository")
    for base, _, names in os.walk(os.path.join(made, "ledger")):
        below = os.path.join(path, "ledger", os.path.relpath(base, os.path.join(made, "ledger")))
        os.makedirs(below)
        for name in names:
            os.link(os.path.join(base, name), os.path.join(below, name))
    shutil.copy(os.path.join(made, FILE_NAME), path)
    os.makedirs(os.path.join(path, "staging"))
    world = World(now=lambda: datetime.now(UTC), random=os.urandom, agent="benchmark")
    repository = open_repository(path, world, read_only=True)
    repository.catalog.create()
    source = Making(made, repository.ledger.size - 1)
    now = datetime.now(UTC)
    with door.writing(repository.catalog.path, repository.catalog.identity) as database:
        database.write({rows.POSITION: b"%d" % repository.ledger.size})
        database.write({row.key: row.to_bytes() for row in _settled(source, folder, time_text(now))})
        for number, pack in enumerate(source.packs):
            times = [time_text(now - timedelta(days=number % 80, hours=place)) for place in range(len(source.stores))]
            of = source.fonds[number % len(source.fonds)]
            changes: dict[bytes, bytes | None] = {
                row.key: row.to_bytes() for row in _rows(pack, of, source.stores, times)
            }
            database.write(changes)
        database.flush()


def _settled(source: Making, folder: str, time: str) -> Iterator[Row]:
    for number, store in enumerate(source.stores):
        name, site, vendor, domain = STORES[number]
        url = f"file://{folder}/{name}"
        yield StoreRow(
            store=store,
            name=name,
            url=url,
            medium="disk",
            site=site,
            vendor=vendor,
            admin_domain=domain,
            state="attached",
            added=time,
        )
    for number, fonds in enumerate(source.fonds):
        yield FondsRow(fonds=fonds, code=f"F{number}", description="", opened=time)


def _rows(pack: str, fonds: str, stores: list[str], times: list[str]) -> Iterator[Row]:
    yield PackRow(
        pack=pack,
        fonds=fonds,
        size=512 << 20,
        label="p",
        state="live",
        package="p",
        version=1,
        session="s",
        objects=PER_PACK,
        content_bytes=511 << 20,
        index_size=0,
        index_blake3="",
        blocks_size=0,
        blocks_blake3="",
        sealed=1,
    )
    for store, time in zip(stores, times, strict=True):
        yield CopyRow(
            pack=pack,
            store=store,
            generation="1",
            state="good",
            written=time,
            seen_good=time,
            verified=time,
            checked=time,
            reach="medium",
        )


def make(folder: str, packs: int) -> None:
    """Record three years of a repository."""
    calendar = Calendar(datetime.now(UTC) - timedelta(days=1000))
    world = World(now=calendar, random=random.Random(1).randbytes, agent="benchmark")
    repository = create(os.path.join(folder, "repository"), world)
    stores = [
        add(repository, name, f"file://{folder}/{name}", site=site, vendor=vendor, admin_domain=domain)[0].store
        for name, site, vendor, domain in STORES
    ]
    fonds = [open_fonds(repository, code, title).fonds for code, title in FONDS]
    cache = [
        line for number in range(packs) for line in ingest(repository, stores, fonds[number**2 % len(fonds)], number)
    ]
    os.makedirs(os.path.join(repository.path, "cache"), exist_ok=True)
    with open(os.path.join(repository.path, "cache", "formats.jsonl"), "w", encoding="ascii") as file:
        file.writelines(f"{zlib.crc32(line.encode()):08x} {line}\n" for line in sorted(cache, key=package_of))
    for number in range(ROUNDS):
        calendar.now = datetime.now(UTC) - timedelta(days=970 * (1 - number / ROUNDS) + 0.2)
        kept(repository, audit(repository, stores, packs, number))
        print(f"\r{repository.ledger.size} events", end="", flush=True)
    with repository.ledger.writing(60) as writer:
        writer.seal_if_due(force=True)
        writer.drop_sealed()
        writer.checkpoint()
    repository.catalog.flush()
    print()


def package_of(line: str) -> str:
    """Return the package that a line of the cache is about."""
    return str(json.loads(line)["package"])


def pack_of(number: int) -> str:
    """Return the name of a pack."""
    return hashlib.sha256(b"pack %d" % number).hexdigest()


def ingest(repository: Repository, stores: list[str], fonds: str, number: int) -> Iterator[str]:
    """Record a package of one pack; yield its line of the cache of formats."""
    pack, index, package = pack_of(number), _index(number, fonds), repository.new_id()
    repository.sidecars.keep(index_name(pack), index)
    chance = random.Random(number)
    counts: dict[str, list[int]] = {}
    for _ in range(PER_PACK):
        puid = (
            FORMATS[min(int(chance.expovariate(0.5)), len(FORMATS) - 1)]
            if chance.random() < IDENTIFIED
            else "unidentified"
        )
        count = counts.setdefault(puid, [0, 0])
        count[0] += 1
        count[1] += chance.randrange(1 << 20)
    size = sum(size for _, size in counts.values())
    sealed = {
        "pack": pack,
        "size": size + (1 << 20),
        "label": "p",
        "package": package,
        "version": 1,
        "session": "s",
        "objects": PER_PACK,
        "content_bytes": size,
        "index_size": len(index),
        "index_blake3": blake3_hex(index),
        "blocks_size": 32,
        "blocks_blake3": "0" * 64,
    }
    manifest = hashlib.sha256(pack.encode()).hexdigest()
    ingested = {
        "session": "s",
        "package": package,
        "version": 1,
        "manifest_pack": pack,
        "manifest_blake3": manifest,
        "manifest_size": 1000,
        "content": "c",
        "files": PER_PACK,
        "folders": 0,
        "bytes": size,
        "packs": [pack],
        "references": [],
        "copies": len(stores),
    }
    copies = [{"pack": pack, "store": store, "generation": "1", "reach": "medium"} for store in stores]
    repository.record(
        [
            repository.event(EventType.PACK_SEALED, fonds=fonds, **sealed),
            *(repository.event(EventType.REPLICATION, fonds=fonds, **copy) for copy in copies),  # type: ignore[arg-type]
            repository.event(EventType.INGESTION, fonds=fonds, **ingested),
        ]
    )
    yield json.dumps({"formats": counts, "manifest": manifest, "package": package})


def audit(repository: Repository, stores: list[str], packs: int, number: int) -> Iterator[Event]:
    """Yield the events of one audit; some find damage, the last one leaves some copies out."""
    name = f"{number:08d}-0000-7000-8000-000000000000"
    yield repository.event(EventType.AUDIT_RUN_OPENED, run=name, scope='{"max_age_days": 79}')
    chance = random.Random(number)
    counts = {"verified": 0, "damaged": 0, "missing": 0, "unreadable": 0, "skipped": 0, "repaired": 0}
    for place in range(packs):
        for store in stores:
            if chance.random() > LOOKED_AT:
                counts["skipped"] += 1
                continue
            verdict = (
                "verified"
                if chance.random() > WRONG
                else chance.choice(["damaged", "damaged", "missing", "unreadable"])
            )
            counts[verdict] += 1
            copy = {"pack": pack_of(place), "store": store, "generation": "1", "run": name}
            seen = {
                **copy,
                "verdict": verdict,
                "reach": "medium" if store != stores[2] else "host cache",
                "bytes": 1 << 28,
            }
            outcome = "success" if verdict == "verified" else "failure"
            yield repository.event(EventType.FIXITY_CHECK, outcome=outcome, **seen)  # type: ignore[arg-type]
            if verdict != "verified":
                counts["repaired"] += 1
                more = {"damage": "a bit at 1048576", "reach": "medium", "quarantine": ""}
                yield repository.event(EventType.REPAIR, **copy, **more)  # type: ignore[arg-type]
    skipped = {"skipped_age": counts["skipped"]} if counts["skipped"] else {}
    total = {"expected": packs * len(stores), "unexpected": 0, "lost": 0, "findings": 0, "bytes": 1 << 40}
    yield repository.event(EventType.AUDIT_RUN_CLOSED, run=name, **counts, **skipped, **total)


def kept(repository: Repository, events: Iterator[Event]) -> None:
    """Record events, many at once."""
    batch = []
    for event in events:
        batch.append(event)
        if len(batch) == AT_ONCE:
            _record(repository, batch)
            batch = []
    _record(repository, batch)


def _record(repository: Repository, batch: list[Event]) -> None:
    with repository.ledger.writing(60) as writer:
        writer.append(batch)
        if writer.seal_if_due() is not None:
            writer.drop_sealed()
            repository.catalog.catch_up()


if __name__ == "__main__":
    main()
