"""What can go wrong with the ledger, as one family."""

from storage_backends.errors import MocbanError, marked


class LedgerError(MocbanError):
    """The ledger could not do what it was asked."""

    template = marked("Ledger failure at {place}: {reason}")


class LedgerMissingError(LedgerError):
    """There is no ledger at this place."""

    template = marked("{place}: there is no ledger here ({reason})")


class LedgerExistsError(LedgerError):
    """There is a ledger at this place already; it was not touched."""

    template = marked("{place}: there is a ledger here already; it was not touched")


class LedgerVersionError(LedgerError):
    """The ledger, or a record in it, has a format that this program does not know; it was not read."""

    template = marked("{place}: format {found} is not known to this program; a newer version of it is needed")


class LedgerBusyError(LedgerError):
    """Another process kept the ledger's lock for the whole time that we were willing to wait."""

    template = marked("{place}: another process has been writing for {waited} seconds; try again later")


class LedgerReadOnlyError(LedgerError):
    """The ledger was opened for reading only."""

    template = marked("{place}: the ledger was opened for reading only")


class LedgerWriteError(LedgerError):
    """A write or a flush failed; nothing of the batch is acknowledged and nothing more is written."""

    template = marked("{place}: the events could not be made durable: {reason}")


class LedgerStoppedError(LedgerError):
    """An earlier write failed; this process must open the ledger again before it may write."""

    template = marked("{place}: an earlier write failed ({reason}); the ledger must be opened again")


class LedgerDamagedError(LedgerError):
    """Records that once were in the ledger are missing or changed, and what is left here cannot replace them."""

    template = marked("{place}: the ledger is damaged at event {seq}: {reason}")


class LedgerForkError(LedgerError):
    """There are two different histories with the same sequence number, or two roots for one size."""

    template = marked("{place}: there are two different histories from event {seq} on: {reason}")


class LedgerUnreadableError(LedgerError):
    """A file of the ledger is there but could not be read; nothing can be said about what it holds."""

    template = marked("{place}: could not be read: {reason}")


class RecordError(LedgerError):
    """An event cannot become a record, or bytes are not a record in canonical form."""

    template = marked("Not a ledger record: {reason}")


class RecordVersionError(RecordError):
    """A record has a schema that this program does not know."""

    template = marked("A ledger record has schema {found}, which is not known to this program")


class NoteError(LedgerError):
    """A signed note, a checkpoint or a key is malformed, or a signature is wrong."""

    template = marked("Not a valid signed note: {reason}")


class KeyFileError(LedgerError):
    """A key file could not be written or read."""

    template = marked("{place}: {reason}")
