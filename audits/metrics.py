"""Figures about a repository for Prometheus: as text, as a file for node_exporter, and over HTTP."""

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from audits.findings import Code, Finding, Severity
from audits.pacing import Standing, standing
from preservation.catalog import rows
from preservation.catalog.catalog import View
from preservation.catalog.rows import CopyRow, CopyState, IncidentRow, MarkRow, PackRow, PackState, StoreRow
from preservation.configuration import ConfigurationError
from preservation.ledger.checkpoints import checkpoint_path
from preservation.ledger.files import replace_file
from preservation.repository import Repository
from preservation.stores import attached, opened
from storage_backends.backend import Sized
from storage_backends.errors import MocbanError, Phrase, StorageError, marked

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from socketserver import TCPServer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES = (0.5, 0.95, 1.0)
FRESH_SECONDS = 15.0
"""How long an answer is given again before it is computed anew."""

REQUEST_SECONDS = 10.0
"""The longest that one request may hold the listener."""

AT_HAND = frozenset({"disk", "memory"})
"""Media that can be asked for their free space without anything being mounted, recalled or paid for."""


class MetricsFileError(MocbanError):
    """The file of metrics could not be written."""

    template = marked("{place}: the metrics could not be written: {reason}")


class ListenError(MocbanError):
    """The address of the metrics could not be listened on."""

    template = marked("{address}: the metrics cannot be served there: {reason}")


class _Page:
    """Metrics in text format 0.0.4, each with what it means and its kind."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, meaning: str, samples: Sequence[tuple[Mapping[str, str], float | None]]) -> None:
        """Add a gauge with its samples; those without a value are left out, and the gauge if none has one."""
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            self._head(name, meaning, "gauge")
            self._lines += [f"mocban_{name}{_labels(labels)} {_number(value)}" for labels, value in known]

    def one(self, name: str, meaning: str, value: float | None) -> None:
        """Add a gauge with one sample."""
        self.add(name, meaning, [({}, value)])

    def summary(self, name: str, meaning: str, values: Mapping[str, Sequence[float]]) -> None:
        """Add a summary for each store."""
        self._head(name, meaning, "summary")
        for store, found in values.items():
            ordered = sorted(found)
            for quantile in QUANTILES:
                value = ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] if ordered else math.nan
                labels = {"store": store, "quantile": f"{quantile:g}"}
                self._lines.append(f"mocban_{name}{_labels(labels)} {_number(value)}")
            self._lines.append(f"mocban_{name}_sum{_labels({'store': store})} {_number(math.fsum(ordered))}")
            self._lines.append(f"mocban_{name}_count{_labels({'store': store})} {len(ordered)}")

    def _head(self, name: str, meaning: str, kind: str) -> None:
        escaped = meaning.replace("\\", "\\\\").replace("\n", "\\n")
        self._lines += [f"# HELP mocban_{name} {escaped}", f"# TYPE mocban_{name} {kind}"]

    def text(self) -> str:
        """Return the page."""
        return "\n".join(self._lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    parts = []
    for name, value in labels.items():
        shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in value)
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'{name}="{escaped}"')
    return "{" + ",".join(parts) + "}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


@dataclass(slots=True)
class _Copies:
    """The copies on one store."""

    states: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    never: int = 0
    ages: list[float] = field(default_factory=list)
    """Seconds since the last verification, of the copies that were ever verified."""


def text(repository: Repository) -> str:
    """Return the metrics as Prometheus reads them; nothing is read but the catalog and the ledger's last checkpoint.

    Only stores on disks are asked whether they are there and how much room they have.
    """
    page = _Page()
    now = repository.world.now()
    with repository.reading() as view:
        stores = attached(view)
        _holdings(page, view)
        _copies(page, view, stores, now)
        _wrong(page, view)
        _times(page, repository, view)
    _deadlines(page, standing(repository), now)
    _room(page, stores)
    page.one("time_seconds", "When these metrics were computed (Unix time).", now.timestamp())
    return page.text()


def _holdings(page: _Page, view: View) -> None:
    packs = objects = size = 0
    for pack in rows.every(view, PackRow):
        if pack.state == PackState.LIVE:
            packs, objects, size = packs + 1, objects + pack.objects, size + pack.content_bytes
    page.one("packages", "Packages that are held.", sum(1 for _ in view.scan(rows.PackageRow.PREFIX)))
    page.one("packs", "Live packs.", packs)
    page.one("objects", "Objects in live packs.", objects)
    page.one("object_bytes", "Bytes of the objects in live packs.", size)


def _copies(page: _Page, view: View, stores: Sequence[StoreRow], now: datetime) -> None:
    found = _counted(view, stores, now)
    page.add(
        "copies",
        "Copies of packs, by how they were last seen.",
        [
            ({"store": store, "state": str(state)}, copies.states[state])
            for store, copies in found.items()
            for state in CopyState
        ],
    )
    for name, meaning, samples in (
        ("copy_bytes", "Bytes of the copies on a store.", {store: one.bytes for store, one in found.items()}),
        (
            "copies_never_verified",
            "Copies that no audit has verified since they were written.",
            {store: one.never for store, one in found.items()},
        ),
    ):
        page.add(name, meaning, [({"store": store}, value) for store, value in samples.items()])
    page.add(
        "oldest_verification_age_seconds",
        "Seconds since the least recent verification on a store.",
        [({"store": store}, max(copies.ages, default=None)) for store, copies in found.items()],
    )
    meaning = "Seconds since the copies on a store were verified, of those that ever were."
    page.summary("verification_age_seconds", meaning, {store: copies.ages for store, copies in found.items()})


def _counted(view: View, stores: Sequence[StoreRow], now: datetime) -> dict[str, _Copies]:
    sizes = {row.pack: row.size for row in rows.every(view, PackRow) if row.state in rows.EXPECTED_STATES}
    names = {row.store: row.name for row in stores}
    found = {name: _Copies() for name in names.values()}
    for copy in rows.every(view, CopyRow):
        size, name = sizes.get(copy.pack), names.get(copy.store)
        if size is None or name is None:
            continue
        copies = found[name]
        copies.states[copy.state] += 1
        copies.bytes += size
        if copy.verified:
            copies.ages.append(max(0.0, (now - datetime.fromisoformat(copy.verified)).total_seconds()))
        else:
            copies.never += 1
    return found


def _deadlines(page: _Page, found: Standing, now: datetime) -> None:
    """Add how the promise to verify every copy in time stands, and whether anybody is at work on it."""
    for name, meaning, attribute in (
        ("copies_overdue", "Copies that were not verified for longer than the policy allows.", "overdue"),
        ("copies_late", "Copies older than three quarters of that, and not overdue.", "late"),
        ("copies_due", "Copies whose turn to be read has come.", "due"),
        ("needed_bytes_per_second", "The slowest rate that meets all deadlines of a store.", "bytes_per_second"),
    ):
        page.add(name, meaning, [({"store": one.name}, getattr(one, attribute)) for one in found.stores])
    page.add(
        "forecast_breach_timestamp_seconds",
        "When a copy on a store will be overdue if all goes on as it does (Unix time); absent if none will.",
        [({"store": one.name}, _unix(one.forecast) if one.forecast else None) for one in found.stores],
    )
    page.add(
        "audits_paused",
        "Whether somebody has paused the audits of a store.",
        [({"store": one.name}, int(one.paused_until is not None)) for one in found.stores],
    )
    age = max(0.0, now.timestamp() - _unix(found.alive)) if found.alive else None
    page.one("scheduler_heartbeat_age_seconds", "Seconds since the service was last at work.", age)
    stopped = "Whether the service has been silent for too long, or never was at work although there is work."
    page.one("scheduler_stopped", stopped, int(found.stopped_days is not None))
    page.one("scheduler_failing_work", "Pieces of work that failed when they were last tried.", len(found.failures))
    page.one("clock_behind_seconds", "Seconds by which the clock is behind the ledger.", found.clock_behind_seconds)


def _wrong(page: _Page, view: View) -> None:
    names = {row.store: row.name for row in rows.every(view, StoreRow)}
    standing = [row for row in rows.every(view, IncidentRow) if not row.closed]
    per_code = Counter(row.code for row in standing)
    errors = [str(code) for code in Code if Finding(code).severity is Severity.ERROR]
    page.add(
        "incidents_open",
        "Incidents that are open, by the code of their findings.",
        [({"code": code}, per_code[code]) for code in sorted({*errors, *per_code})],
    )
    page.add(
        "findings_open",
        "Findings of open incidents, as last counted.",
        [({"code": row.code, "store": names.get(row.store, "")}, row.count) for row in standing],
    )
    page.one(
        "oldest_incident_timestamp_seconds",
        "When the oldest open incident was opened (Unix time).",
        min((_unix(row.opened) for row in standing), default=None),
    )
    page.one("objects_lost", "Objects lost on every copy.", sum(1 for _ in view.scan(rows.LostRow.PREFIX)))


def _times(page: _Page, repository: Repository, view: View) -> None:
    for mark, name, meaning in (
        ("last audit", "last_audit", "When the last audit of everything ended (Unix time)."),
        ("timestamped", "last_timestamp", "When an authority last stated the time of a checkpoint (Unix time)."),
        ("witnessed", "last_witness", "When a witness last countersigned a checkpoint (Unix time)."),
    ):
        row = rows.one(view, MarkRow, mark)
        page.one(f"{name}_timestamp_seconds", meaning, _unix(row.value) if row is not None else None)
    witnessed = rows.one(view, MarkRow, "witnessed size")
    page.one(
        "witnessed_events", "Events that a witness has countersigned.", int(witnessed.value) if witnessed else None
    )
    page.one("ledger_events", "Events in the ledger.", repository.ledger.size)
    size = max(repository.ledger.checkpoint_sizes(), default=0)
    page.one("checkpoint_events", "Events that the last signed checkpoint covers.", size)
    if size:
        with suppress(OSError):
            when = os.stat(checkpoint_path(os.path.join(repository.path, "ledger"), size)).st_mtime
            page.one("last_checkpoint_timestamp_seconds", "When the last checkpoint was signed (Unix time).", when)


def _unix(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _room(page: _Page, stores: Sequence[StoreRow]) -> None:
    there: list[tuple[dict[str, str], float | None]] = []
    free: list[tuple[dict[str, str], float | None]] = []
    for row in stores:
        if row.medium not in AT_HAND:
            continue
        backend = opened(row).backend
        there.append(({"store": row.name}, int(backend is not None)))
        if backend is not None:
            with closing(backend), suppress(StorageError):
                if isinstance(backend, Sized):
                    free.append(({"store": row.name}, backend.space().free))
    page.add("store_available", "Whether a store on disk is there now.", there)
    page.add("store_free_bytes", "Bytes that are free on a store on disk.", free)


def write(repository: Repository) -> None:
    """Replace the file that ``[metrics] textfile`` names, readable by all; nothing happens if it names none.

    Raises:
        MetricsFileError: it cannot be written; the file before is left as it was.
    """
    name = repository.configuration.metrics.textfile
    if not name:
        return
    write_to(os.path.join(repository.path, name), text(repository))


def write_to(path: str, page: str) -> None:
    """Replace a file by ``page``, readable by all, in one step.

    Raises:
        MetricsFileError: it cannot be written; the file before is left as it was.
    """
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise MetricsFileError(place=path, reason=error.strerror or str(error)) from error


def values(page: str) -> dict[str, float | None]:
    """Return the samples of a page: names with their labels, as they stand there; NaN is None."""
    samples = (line.rpartition(" ") for line in page.split("\n") if line and not line.startswith("#"))
    return {name: None if value == "NaN" else float(value) for name, _, value in samples}


# ---- over HTTP ---------------------------------------------------------------------------------------------------


@contextmanager
def listening(open_repository: Callable[[], Repository], address: str) -> Iterator[str]:
    """Serve ``GET /metrics`` on ``address`` (``host:port``) in a thread, one request at a time; give the address taken.

    The repository is opened for each answer that is computed, so that it is never held. Port 0 is any that is free.

    Raises:
        ConfigurationError: ``address`` is malformed.
        ListenError: it cannot be listened on.
    """
    from socketserver import TCPServer  # noqa: PLC0415 - only the service listens

    host, port = _host_and_port(address)
    try:
        server = _server_class(TCPServer, ":" in host)((host, port), _answering(_Answer(open_repository)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError(address=address, reason=reason) from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        taken = server.server_address[1]
        yield f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(REQUEST_SECONDS)


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigurationError(
            place="[metrics] listen", reason=Phrase("{address!r} is not host:port", address=address)
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _server_class(base: "type[TCPServer]", is_ipv6: bool) -> "type[TCPServer]":  # noqa: FBT001 - one meaning
    import socket  # noqa: PLC0415 - only the service listens

    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    quiet = {"handle_error": lambda *_: None}  # somebody hung up
    return type("MetricsServer", (base,), {"address_family": family, "allow_reuse_address": True, **quiet})


class _Answer:
    """The last page, given again while it is fresh."""

    def __init__(self, open_repository: Callable[[], Repository]) -> None:
        self._open = open_repository
        self._page = b""
        self._until = -math.inf

    def page(self) -> bytes:
        if time.monotonic() >= self._until:
            self._page = text(self._open()).encode()
            self._until = time.monotonic() + FRESH_SECONDS
        return self._page


def _answering(answer: _Answer) -> "type[BaseHTTPRequestHandler]":
    import socket  # noqa: PLC0415 - only the service listens
    from http.server import BaseHTTPRequestHandler  # noqa: PLC0415 - the same

    class Metrics(BaseHTTPRequestHandler):
        """Answers one request and hangs up."""

        server_version, sys_version = "mocban", ""
        timeout = REQUEST_SECONDS

        def setup(self) -> None:
            super().setup()
            self._cut = threading.Timer(REQUEST_SECONDS, self._hang_up)
            self._cut.daemon = True
            self._cut.start()

        def _hang_up(self) -> None:
            with suppress(OSError):  # whoever sends a letter now and then would hold the listener for ever
                self.connection.shutdown(socket.SHUT_RDWR)

        def finish(self) -> None:
            self._cut.cancel()
            with suppress(OSError):
                super().finish()

        def do_GET(self) -> None:
            if self.path != "/metrics":
                self._reply(404, "text/plain; charset=utf-8", b"only /metrics is here\n")
                return
            try:
                page = answer.page()
            except Exception as error:  # noqa: BLE001 - whatever it is, the listener goes on and says so
                text = f"the metrics could not be computed: {type(error).__name__}\n"
                self._reply(503, "text/plain; charset=utf-8", text.encode())
                return
            self._reply(200, CONTENT_TYPE, page)

        def _reply(self, status: int, kind: str, body: bytes) -> None:
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the class above
            """Say nothing."""

    return Metrics
