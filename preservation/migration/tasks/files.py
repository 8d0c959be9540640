"""Digests of files, and two files of samples compared."""

import hashlib
from array import array

_SAMPLE = 2
_CHUNK = 1 << 20


def digests(*paths: str) -> dict[str, object]:
    """The SHA-256 digest of each file."""
    found: dict[str, object] = {}
    for path in paths:
        with open(path, "rb") as file:
            found[path] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return found


def samples(first: str, second: str) -> dict[str, object]:
    """Two files of samples of 16 bits: their digests, and how many samples differ (one too many or too few differs)."""
    digests = hashlib.sha256(), hashlib.sha256()
    different = length = 0
    with open(first, "rb") as one, open(second, "rb") as other:
        while True:
            ours, theirs = one.read(_CHUNK), other.read(_CHUNK)
            if not ours and not theirs:
                break
            digests[0].update(ours)
            digests[1].update(theirs)
            length += len(ours)
            different += _different(ours, theirs)
    return {
        "first": digests[0].hexdigest(),
        "second": digests[1].hexdigest(),
        "different": different,
        "length": length,
    }


def _different(ours: bytes, theirs: bytes) -> int:
    if ours == theirs:
        return 0
    shorter = min(len(ours), len(theirs)) // _SAMPLE * _SAMPLE
    pairs = zip(array("H", ours[:shorter]), array("H", theirs[:shorter]), strict=True)
    over = abs(len(ours) - len(theirs)) + _SAMPLE - 1
    return sum(one != other for one, other in pairs) + over // _SAMPLE
