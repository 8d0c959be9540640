"""Stopping in good order: every long verb looks up now and then whether it shall stop."""

from storage_backends.errors import MocbanError, marked


class StoppedError(MocbanError):
    """The work was told to stop; it goes on where it stopped when it is asked for again."""

    template = marked("Stopped as asked. Run the same command again to go on")
