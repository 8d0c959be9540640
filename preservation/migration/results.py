"""What came of each file, as it is noted while a package is migrated and as it stands in the ledger's parts.

A part has identifiers, digests, codes and counts; which file a number stands for, its manifest says.
"""

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from preservation.fixity import blake3_hex
from preservation.migration.affected import Affected
from preservation.parts import Columns, Value, read_part
from preservation.sidecars import Sidecars

KIND = "migration"
ACCEPTED = "accepted"

COLUMNS: Columns = (
    ("package", str),
    ("base", int),
    ("file", int),
    ("source", str),
    ("source_size", int),
    ("puid", str),
    ("code", str),
    ("derived", str),
    ("derived_size", int),
    ("derived_count", int),
    ("rendition", bool),
    ("milliseconds", int),
    ("measures", str),
)
"""``file`` is the number of the file in the manifest of version ``base``; ``code`` is ``accepted`` or why not.

``derived`` has the BLAKE3 digests of the outputs, with spaces between; ``measures`` is a JSON list of [name, of the
source, of the output, whether it holds].
"""

MeasureText = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Output:
    """A file that was made and accepted."""

    path: bytes
    """In the new version."""
    blake3: str
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one file."""

    number: int
    path: bytes
    source: str
    size: int
    puid: str
    code: str
    outputs: tuple[Output, ...] = ()
    measures: tuple[MeasureText, ...] = ()
    rendition: bool = False
    milliseconds: int = 0

    @property
    def accepted(self) -> bool:
        """Whether every check of the pathway holds."""
        return self.code == ACCEPTED

    @property
    def derived_bytes(self) -> int:
        """What the outputs take."""
        return sum(one.size for one in self.outputs)

    @classmethod
    def failed(cls, file: Affected, code: str) -> Self:
        """Return the result of a file that was not even tried."""
        return cls(file.number, file.path, file.blake3, file.size, file.puid, code)

    def line(self) -> bytes:
        """Return the result as a line of JSON."""
        values = {
            "code": self.code,
            "measures": [list(one) for one in self.measures],
            "ms": self.milliseconds,
            "number": self.number,
            "outputs": [[_text(one.path), one.blake3, one.size] for one in self.outputs],
            "path": _text(self.path),
            "puid": self.puid,
            "rendition": self.rendition,
            "size": self.size,
            "source": self.source,
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Read a line."""
        values: dict[str, Any] = json.loads(line)
        return cls(
            values["number"],
            base64.b64decode(values["path"], validate=True),
            values["source"],
            values["size"],
            values["puid"],
            values["code"],
            tuple(Output(base64.b64decode(path), digest, size) for path, digest, size in values["outputs"]),
            tuple((name, source, output, passed) for name, source, output, passed in values["measures"]),
            values["rendition"],
            values["ms"],
        )

    def row(self, package: str, base: int) -> tuple[Value, ...]:
        """Return the row of a part."""
        return (
            package,
            base,
            self.number,
            self.source,
            self.size,
            self.puid,
            self.code,
            " ".join(one.blake3 for one in self.outputs),
            self.derived_bytes,
            len(self.outputs),
            self.rendition,
            self.milliseconds,
            json.dumps(self.measures, ensure_ascii=True),
        )


def _text(path: bytes) -> str:
    return base64.b64encode(path).decode("ascii")


def codes(results: Iterable[Result]) -> dict[str, int]:
    """Return how often each code came, in the order of the codes."""
    return dict(sorted(Counter(one.code for one in results).items()))


class Journal:
    """The results of one package so far, in a file that a kill leaves at most one line short."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> list[Result]:
        """Return what is there; a line that is not whole, and all behind it, is not."""
        found: list[Result] = []
        try:
            with open(self._path, "rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    found.append(Result.of_line(line))
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            return found
        return found

    def keep(self, results: Sequence[Result]) -> None:
        """Leave these results only."""
        data = b"".join(one.line() for one in results)
        with open(self._path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def add(self, results: Sequence[Result]) -> None:
        """Add results, durably."""
        with open(self._path, "ab") as file:
            file.writelines(one.line() for one in results)
            file.flush()
            os.fsync(file.fileno())


def digest_of(results: Iterable[Result]) -> str:
    """Return the digest of all results of a package, times and all."""
    return blake3_hex(b"".join(one.line() for one in results))


@dataclass(frozen=True, slots=True)
class Reported:
    """A row of a part, read again."""

    package: str
    base: int
    number: int
    source: str
    size: int
    puid: str
    code: str
    derived: tuple[str, ...]
    derived_size: int
    rendition: bool
    milliseconds: int
    measures: tuple[MeasureText, ...]


def reported(sidecars: Sidecars, digest: str) -> Iterator[Reported]:
    """Yield the results in a part.

    Raises:
        PartMissingError: it is not here, or not what the ledger says.
    """
    for row in read_part(sidecars, digest, COLUMNS):
        package, base, number, source, size, puid, code, derived, derived_size, _, rendition, taken, measures = row
        yield Reported(
            str(package),
            int(base or 0),
            int(number or 0),
            str(source),
            int(size or 0),
            str(puid),
            str(code),
            tuple(str(derived).split()),
            int(derived_size or 0),
            bool(rendition),
            int(taken or 0),
            tuple(tuple(one) for one in json.loads(str(measures))),
        )
