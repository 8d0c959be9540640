"""The golden repository: what format 1 was when it was settled opens, verifies and reads for ever."""

import base64
import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from repository_support import (
    Place,
    audit,
    catalog_rows,
    contents,
    open_findings,
    pack_rows,
    rebuilt_rows,
    submit_files,
)

from preservation import attachment, rebuilding
from preservation.catalog import rows
from preservation.ledger.checking import check_ledger

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "format-1.json").read_text())


@pytest.fixture
def place(tmp_path):
    with tarfile.open(GOLDEN / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="tar")
    place = Place(tmp_path)
    place.clock.pass_by(days=30)
    return place


def moved_in(place):
    """The stores lie elsewhere now: the repository is told where."""
    for name in ("a", "b"):
        attachment.add(place.open(), name, place.url(name), site=f"site {name}")
    return place


def described(files):
    lines = [
        [base64.b64encode(path).decode(), None if data is None else hashlib.sha256(data).hexdigest()]
        for path, data in sorted(files.items())
    ]
    return len(lines), hashlib.sha256(json.dumps(lines).encode()).hexdigest(), lines


def reads_as_expected(place):
    for version in EXPECTED["versions"]:
        count, digest, lines = described(contents(place, version["package"], version["version"]))
        assert lines == version.get("files", lines)
        assert (count, digest) == (version["count"], version["sha256"])


KINDS = [kind for kind in rows.Row.__subclasses__() if kind.PREFIX]


def as_written_now(found):
    """Rows of format 1 lack what was added to them since, and say what the defaults say."""
    kinds = {key: next((kind for kind in KINDS if key.startswith(kind.PREFIX)), None) for key in found}
    return {key: kinds[key].from_bytes(value).to_bytes() if kinds[key] else value for key, value in found.items()}


def test_it_verifies_as_it_was_made(place):
    assert list(check_ledger(f"{place.path}/ledger")) == []
    repository = place.open(read_only=True)
    assert repository.ledger.size == EXPECTED["events"]
    assert repository.ledger.segments
    assert sorted(row.pack for row in pack_rows(place)) == EXPECTED["packs"]


def test_every_version_reads_byte_for_byte(place):
    reads_as_expected(moved_in(place))


def test_it_audits_clean(place):
    report = audit(moved_in(place))
    assert report.exit_status == 0, open_findings(report)
    assert report.coverage.verified == report.coverage.expected == 2 * len(EXPECTED["packs"])
    assert [report.coverage.unexpected, report.coverage.repaired] == [0, 0]


def test_its_catalog_is_what_its_ledger_says_row_for_row(place):
    assert rebuilt_rows(place) == as_written_now(catalog_rows(place))


def test_it_comes_back_from_one_store_alone(place):
    (place.folder / "repo").rename(place.folder / "gone")
    rebuilt = rebuilding.rebuild_from(place.url("b"), place.path, place.world)
    assert (rebuilt.packs, rebuilt.missing_indexes, rebuilt.signing) == (len(EXPECTED["packs"]), 0, True)
    reads_as_expected(moved_in(place))
    assert list(check_ledger(f"{place.path}/ledger")) == []


def test_it_can_be_written_to(place):
    receipt = submit_files(moved_in(place), {"mới.txt": b"new"}, "new")
    assert (receipt.copies, receipt.under_replicated) == (2, False)
    assert contents(place, receipt.package) == {"mới.txt".encode(): b"new"}
    assert rebuilt_rows(place) == as_written_now(catalog_rows(place))
    assert audit(place).exit_status == 0


def test_it_was_made_by_the_script_beside_it_and_is_small():
    assert os.path.getsize(GOLDEN / "format-1.tar.xz") < 1_500_000
    assert (GOLDEN / "make.py").exists()
