"""A drive that is pulled out; the last that is done in the guest, by ``make test-tape-vm``: nobody puts it back."""

from pathlib import Path

import pytest
from vm_drive import DRIVES, STRICT, device, erased, record

from storage_backends.tape.drive import DriveOfflineError, NotReadyError
from storage_backends.tape.nst import NstDrive


def test_a_drive_that_is_pulled_out_while_it_writes_is_lost_and_nothing_is_claimed():
    erased(STRICT)
    name = device(STRICT)
    drive = NstDrive(name)
    drive.check_ready()
    drive.rewind()
    drive.write(record(1))
    ((DRIVES / Path(name).name / "device").resolve() / "delete").write_text("1")

    with pytest.raises(DriveOfflineError):
        drive.write(record(2))
    for attempt in (lambda: drive.write(record(2)), drive.rewind, drive.position, drive.unload, drive.check_ready):
        with pytest.raises((DriveOfflineError, NotReadyError)):
            attempt()
    drive.close()
