"""A repository that is made once in a process, and brought back to how it was for each test.

Stores are known by their path and a copy by the number of its file, so that both stay the same.
"""

import os
import random
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from repository_support import Clock, Place


@dataclass
class _Kept:
    place: Place
    now: datetime
    random: object
    spare: Path
    """A folder with a link to each file of the stores, lest its number be given to another."""
    seen: dict[str, os.stat_result]
    contents: dict[str, bytes]
    changed: dict[str, int]
    """When the operating system saw each file change last, in nanoseconds, by a clock that no test can set."""

    @property
    def folders(self):
        return [path for path, seen in self.seen.items() if stat.S_ISDIR(seen.st_mode)]


_kept: dict[object, _Kept] = {}


def brought_back(make, factory):
    """Return the place that ``make(folder)`` makes, as it was when it was made; ``factory`` is pytest's for folders."""
    if make not in _kept:
        _kept[make] = _as_made(make, factory.mktemp("kept"))
    one = _kept[make]
    _remove_what_came(one)
    _bring_back_what_went(one)
    dice = random.Random()
    dice.setstate(one.random)
    return Place(one.place.folder, clock=Clock(one.now), random=dice.randbytes)


def _as_made(make, folder):
    for name in ("place", "spare"):
        (folder / name).mkdir()
    place = make(folder / "place")
    paths = [str(path.relative_to(place.folder)) for path in sorted(place.folder.rglob("*"))]
    seen = {path: os.lstat(place.folder / path) for path in [".", *paths]}
    contents = {path: (place.folder / path).read_bytes() for path in paths if stat.S_ISREG(seen[path].st_mode)}
    one = _Kept(place, place.clock.now, place.random.__self__.getstate(), folder / "spare", seen, contents, {})
    for path in filter(_is_numbered(place), contents):
        os.link(place.folder / path, _spare(one, path))
    return one


def _is_numbered(place):
    return lambda path: (place.folder / Path(path).parts[0] / "mocban-store.json").exists()


def _spare(one, path):
    return one.spare / path.replace("/", "!")


def _remove_what_came(one):
    root = str(one.place.folder)
    for base, folders, files in os.walk(root, topdown=False):
        for name in (*folders, *files):
            path = os.path.join(base, name)
            was, now = one.seen.get(os.path.relpath(path, root)), os.lstat(path)
            if not stat.S_ISDIR(now.st_mode):
                if was is None or was.st_ino != now.st_ino:
                    os.unlink(path)
            elif was is None or not stat.S_ISDIR(was.st_mode):
                os.rmdir(path)


def _bring_back_what_went(one):
    root = one.place.folder
    for path in one.folders:
        (root / path).mkdir(exist_ok=True)
    for path, data in one.contents.items():
        file = root / path
        if not file.exists():
            spare = _spare(one, path)
            os.link(spare, file) if spare.exists() else file.touch()
        if os.lstat(file).st_ctime_ns != one.changed.get(path):
            file.chmod(0o644)
            with open(file, "r+b") as opened:
                opened.truncate(0)
                opened.write(data)
            _as_it_was(one, path)
            one.changed[path] = os.lstat(file).st_ctime_ns
            one.seen[path] = os.lstat(file)
    for path in reversed(one.folders):
        _as_it_was(one, path)


def _as_it_was(one, path):
    was = one.seen[path]
    os.chmod(one.place.folder / path, stat.S_IMODE(was.st_mode))
    os.utime(one.place.folder / path, ns=(was.st_atime_ns, was.st_mtime_ns))
