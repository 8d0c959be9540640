"""Real drives and changers as a URL names them, made ready to be asked."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from storage_backends.backend import Reach
from storage_backends.tape.addresses import ISCSI, Hardware, address_of
from storage_backends.tape.changer import HandLoaded, ScsiChanger
from storage_backends.tape.drive import TapeChanger, TapeDrive
from storage_backends.tape.iscsi import IscsiUnit
from storage_backends.tape.nst import NstDrive
from storage_backends.tape.scsi_drive import ScsiDrive
from storage_backends.tape.sg import SgUnit

Owning = Callable[[], AbstractContextManager[object]]


def opened(hardware: Hardware, owning: Owning) -> tuple[TapeDrive, TapeChanger]:
    """Return the drive and what brings cartridges to it; neither is asked for anything yet.

    ``owning`` keeps others from the drive for a while.
    """
    return _over_iscsi(hardware, owning) if hardware.kind == ISCSI else _by_drivers(hardware, owning)


def _by_drivers(hardware: Hardware, owning: Owning) -> tuple[TapeDrive, TapeChanger]:
    drive = NstDrive(hardware.drive, ejects=bool(hardware.changer))
    if not hardware.changer:
        return drive, HandLoaded(drive, owning)
    return drive, ScsiChanger(SgUnit(hardware.changer), element=hardware.element, serial=drive.serial)


def _over_iscsi(hardware: Hardware, owning: Owning) -> tuple[TapeDrive, TapeChanger]:
    # How the other side comes by the bytes is not known: what stands there may be a disk.
    unit = IscsiUnit(address_of(hardware.drive))
    drive = ScsiDrive(unit, ejects=bool(hardware.changer), reach=Reach.PROVIDER)
    if not hardware.changer:
        return drive, HandLoaded(drive, owning)
    changer = IscsiUnit(address_of(hardware.changer))
    return drive, ScsiChanger(changer, element=hardware.element, serial=drive.serial)
