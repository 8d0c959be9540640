"""Why an export could not be made; none of these leaves anything half behind."""

from preservation.stopping import StoppedError
from storage_backends.errors import MocbanError, marked


class DestinationError(MocbanError):
    """The place cannot take an export."""

    template = marked("{dest}: {reason}; nothing was exported")


class NoSuchFileError(MocbanError):
    """The package version has no file of this path."""

    template = marked("{package} has no file {path}; 'mocban show {package}' lists those it has")


class UnsafePathError(MocbanError):
    """A manifest names a path that leads out of the destination; nothing in it is believed."""

    template = marked("{path} would be written outside of the destination ({reason}); nothing was exported")


class WrongBytesError(MocbanError):
    """The bytes have the object's BLAKE3 digest but not the size or the SHA-256 that the manifest says."""

    template = marked("{path}: {what} is {found}, the manifest says {expected}; nothing was exported")


class ExportFailedError(MocbanError):
    """The operating system did not let us write the export."""

    template = marked("{dest} could not be written: {reason}; nothing was left there")


class ExportStoppedError(StoppedError):
    """The export was told to stop."""

    template = marked("Stopped as asked; nothing was left at {dest}")
