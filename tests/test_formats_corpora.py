"""The index answers as FIDO itself does on every file that is at hand, and on thousands of their mutants."""

import re
from pathlib import Path

import pytest
from formats_support import corpora, files_of, mutants, newer_bundle, shared_engine

from preservation.formats.droid import document_for_fido
from preservation.formats.engine import build_engine, native_match, real_fido
from preservation.formats.identification import ENDS
from preservation.formats.index import match_signatures

MUTANTS = 5_000

pytestmark = [pytest.mark.corpora, pytest.mark.slow]


@pytest.fixture
def roomy_cache(monkeypatch):
    """FIDO has Python compile every expression anew for each file if its cache is small; loading FIDO shrinks it."""
    real_fido(("format_extensions.xml",))
    monkeypatch.setattr(re, "_MAXCACHE", 20_000)


def every_file():
    root = corpora()
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def differing(engine, fido, contents):
    """Compare both on some contents; gives how many were looked at, how many identified, and which differ."""
    count = identified = 0
    different = []
    for name, content in contents:
        start, end = content[:ENDS], content[-ENDS:]
        ours = [(known.puid, signature) for known, signature in match_signatures(engine.index, start, end)]
        theirs = native_match(fido, start, end)
        count += 1
        identified += bool(theirs)
        if ours != theirs:
            different.append((name, ours, theirs))
    return count, identified, different


def read(path):
    with open(path, "rb") as file:
        return file.read(8 << 20)


def test_the_index_tells_every_file_of_the_corpora_as_fido_does(roomy_cache):
    files = every_file()
    count, identified, different = differing(shared_engine(), real_fido(), ((str(path), read(path)) for path in files))
    assert different == []
    assert count == len(files) > 3_000
    assert identified > 2_000


def test_the_index_tells_thousands_of_mutants_as_fido_does(roomy_cache):
    sources = files_of(corpora("skeletons"), 1200) + files_of(corpora("format-corpus"), 150)
    contents = [content for path in sources if len(content := read(path)) < 300_000]
    found = ((number, content) for number, content in enumerate(mutants(contents, MUTANTS)))
    count, identified, different = differing(shared_engine(), real_fido(), found)
    assert different == []
    assert (count, identified > MUTANTS // 10) == (MUTANTS, True)


def test_the_index_tells_files_by_a_newer_release_as_fido_does(roomy_cache, tmp_path):
    bundle = newer_bundle()
    Path(tmp_path, "formats.xml").write_bytes(document_for_fido(bundle.formats))
    fido = real_fido(("formats.xml",), str(tmp_path))
    sources = files_of(corpora("skeletons"), 500) + files_of(corpora("format-corpus"), 200)
    count, identified, different = differing(build_engine(bundle), fido, ((str(path), read(path)) for path in sources))
    assert different == []
    assert (count, identified > 500) == (700, True)
