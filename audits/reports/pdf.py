"""The door to WeasyPrint: a page as PDF, made without fetching anything."""

import logging
from typing import BinaryIO, NoReturn

from storage_backends.errors import MocbanError, marked


class PdfMissingError(MocbanError):
    """A PDF was asked for, and what makes one is not installed."""

    template = marked(
        "A PDF needs the extra 'report' ({reason}): pip install 'mocban[report]', and the Pango library of the "
        "system. An HTML page needs nothing and prints just as well"
    )


class FetchRefusedError(MocbanError):
    """A page asked for something from outside; no report of ours does."""

    template = marked("The page of a report asked for {place}, which is never fetched")


def write_pdf(page: str, file: BinaryIO) -> None:
    """Write ``page``, a whole HTML document, as PDF.

    Raises:
        PdfMissingError: WeasyPrint or a library that it needs is not installed.
        OSError: as for any file.
    """
    try:
        import weasyprint  # noqa: PLC0415 - optional, and takes a second to load
    except (ImportError, OSError) as error:
        raise PdfMissingError(reason=str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    for name in ("weasyprint", "fontTools"):
        logging.getLogger(name).setLevel(logging.ERROR)  # warns of every rule that is for screens only
    weasyprint.HTML(string=page, url_fetcher=_refused).write_pdf(file)


def _refused(url: str, *_: object, **__: object) -> NoReturn:
    raise FetchRefusedError(place=url)
