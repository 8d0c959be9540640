"""What the kernel knows of a drive of the ``st`` driver (``/sys/class/scsi_tape``), without asking the drive."""

import os

from storage_backends.tape import mtio, scsi

LONGEST_PAGE = 4096


def serial(path: str) -> str:
    """Return the serial number of the drive at ``path`` (vital product data, page 80h); empty if it is not known."""
    try:
        with open(f"{_folder(path)}/device/vpd_pg80", "rb") as file:
            return scsi.serial_of(file.read(LONGEST_PAGE))
    except OSError:
        return ""


def options(path: str) -> int:
    """Return the driver's options for the drive; all that are wrong if they cannot be read."""
    try:
        with open(f"{_folder(path)}/options", encoding="ascii") as file:
            return int(file.read(32), 16)
    except (OSError, ValueError):
        return mtio.ASYNC_WRITES | mtio.READ_AHEAD


def _folder(path: str) -> str:
    return f"/sys/class/scsi_tape/{os.path.basename(os.path.realpath(path))}"
