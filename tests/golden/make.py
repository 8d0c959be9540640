"""Makes the golden repository of format 1. It was run once, when the format was settled, and is never run again.

    python tests/golden/make.py EMPTY_FOLDER

The folder (``/golden`` at the time) stands in the URLs of the stores. It makes ``format-1.tar.xz``, and
``format-1.json``: what a reader must find in it. The secret keys in it protect nothing.
"""

import base64
import hashlib
import json
import os
import sys
import tarfile
import unicodedata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from repository_support import (  # noqa: E402 - the path comes first
    audit,
    contents,
    flip,
    made,
    pack_file,
    pack_rows,
    submit,
    submit_files,
)
from submission_support import bag  # noqa: E402 - the same

from preservation import attachment  # noqa: E402 - the same
from preservation.packs import layout  # noqa: E402 - the same

WORDS = "Ủy ban nhân dân xã Tân Lập, huyện Mộc Châu. ".encode()
FILES = {
    "Quyết định/Số 01.txt": WORDS * 50,
    "Quyết định/Số 02.txt": WORDS * 51,
    unicodedata.normalize("NFD", "Quyết định/Số 03.txt"): WORDS * 52,
    "Bản sao/Số 01.txt": WORDS * 50,
    "rỗng.txt": b"",
    "trống/bên trong/": None,
    b"latin-1/caf\xe9": b"not UTF-8",
    b"latin-1/\xff\xfe": b"nor this",
    "x" * 255: b"255 bytes",
    b"/".join([b"thu muc" * 20] * 7) + b"/sau": b"deep",
    "to.bin": hashlib.shake_256(b"golden").digest(150_000),
    "-rf \"quotes\" 'and' $(more) \\ `here`": b"hostile",
} | {f"lặp/{number:04}": b"the same content, again and again" for number in range(1_010)}


def main(folder):
    """Make it in ``folder``."""
    layout.TARGET_SIZE = 300_000
    place = made(folder)
    first = submit_files(place, FILES, "first").package
    submit_files(place, {"Quyết định/Số 04.txt": WORDS}, "more", package=first, mode="add")
    submit_files(place, {"to.bin": b"replaced"}, "other", package=first, mode="replace")
    submit(place, None, package=first, withdrawn=("lặp", "rỗng.txt"))
    payload = {"data/tài liệu.txt": WORDS * 50, "data/mới.txt": b"new"}
    submit(place, bag(place.folder / "bag", payload, algorithms=("sha512", "md5")), title="Một bao BagIt")
    row = pack_rows(place)[0]
    flip(pack_file(place, "b", row), 1_000)
    assert audit(place).coverage.repaired == 1
    place.clock.pass_by(days=2)  # the next event seals a segment
    attachment.add(place.open(), "c", place.url("c"), site="site c")
    attachment.detach(place.open(), "c", lost=False)
    assert audit(place).exit_status == 0
    bagged = pack_rows(place)[-1].package
    expected = {
        "events": place.open().ledger.size,
        "packs": sorted(row.pack for row in pack_rows(place)),
        "versions": [described(place, first, version) for version in (1, 2, 3, 4)] + [described(place, bagged, 1)],
    }
    (HERE / "format-1.json").write_text(json.dumps(expected, indent=1) + "\n")
    with tarfile.open(HERE / "format-1.tar.xz", "w:xz", preset=9) as archive:
        for name in ("repo", "repo.recovery-kit", "a", "b", "c"):
            archive.add(os.path.join(folder, name), name, filter=nameless)


def described(place, package, version):
    """What a reader must find: every file with its SHA-256, or their number and one digest if there are many."""
    lines = [
        [base64.b64encode(path).decode(), None if data is None else hashlib.sha256(data).hexdigest()]
        for path, data in sorted(contents(place, package, version).items())
    ]
    found = {"package": package, "version": version, "count": len(lines)}
    found["sha256"] = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    return found | ({"files": lines} if len(lines) < 20 else {})


def nameless(info):
    """Leave out the log of the catalog, which tells of the machine, and who owned the files."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return None if os.path.basename(info.name).startswith("LOG") else info


if __name__ == "__main__":
    main(sys.argv[1])
