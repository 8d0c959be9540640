"""The corpora that the benchmarks run on: made once, kept in the work folder, the same bytes every time."""

import os
import random

SMALL_FILES = 50_000
LARGE_FILES = 32
LARGE_SIZE = 256 << 20


def small(folder: str, files: int = SMALL_FILES) -> str:
    """Make ``files`` small files, log-normal with a mean of about 20 KB (about 1 GB for 50,000); return where."""
    place = os.path.join(folder, f"small-{files}")
    if os.path.exists(place + ".made"):
        return place
    seed = random.Random(1)
    for number in range(files):
        below = os.path.join(place, f"{number // 1000:03d}", f"{number // 100 % 10}")
        os.makedirs(below, exist_ok=True)
        size = min(int(seed.lognormvariate(9.24, 1.15)), 4 << 20)
        with open(os.path.join(below, f"tài-liệu-{number:06d}.bin"), "wb") as file:
            file.write(seed.randbytes(size))
    open(place + ".made", "w").close()
    return place


def large(folder: str, files: int = LARGE_FILES, size: int = LARGE_SIZE) -> str:
    """Make ``files`` files of ``size`` incompressible bytes (8 GiB by default); return where."""
    place = os.path.join(folder, f"large-{files}x{size >> 20}")
    if os.path.exists(place + ".made"):
        return place
    os.makedirs(place, exist_ok=True)
    seed = random.Random(2)
    for number in range(files):
        with open(os.path.join(place, f"scan-{number:03d}.tif"), "wb") as file:
            file.writelines(seed.randbytes(1 << 22) for _ in range(size >> 22))
    open(place + ".made", "w").close()
    return place
