"""What can go wrong with the catalog. None of it loses anything: the catalog is only an index."""

from typing import ClassVar

from storage_backends.errors import MocbanError, marked


class CatalogError(MocbanError):
    """The catalog could not be used."""

    template: ClassVar[str] = marked("The catalog at {place} cannot be used: {reason}")


class CatalogDamagedError(CatalogError):
    """The catalog is damaged, missing or not ours; ``mocban rebuild`` makes it anew."""

    template = marked(
        "The catalog at {place} is damaged ({reason}). Nothing is lost: run 'mocban rebuild' to make it anew"
    )


class CatalogBusyError(CatalogError):
    """Another process is writing to the catalog."""

    template = marked("The catalog at {place} is in use by another process")
