"""An export as files: the original tree, or one file, with nothing added; the PREMIS documents lie beside it."""

import os

from preservation.dissemination.copying import Outgoing, Version, copied, mtime_ns
from preservation.dissemination.destination import Destination
from preservation.dissemination.document import document
from preservation.dissemination.premis import file_object
from preservation.dissemination.writing import Sink, Tree, tree
from preservation.manifest import FileLine


def write_files(version: Version, target: Destination, outgoing: Outgoing) -> None:
    """Write the files of a version where ``target`` wants them made.

    Raises:
        NoSuchFileError: the version does not have the one file that is wanted.
    """
    header, lines = version.open()
    place, single = target.partial(), version.only is not None
    with document(target.partial(1), target.partial(2), outgoing.flushing) as (premis, _, _):
        with tree(os.path.dirname(place) if single else place, outgoing.flushing) as root:
            for number, line in lines:
                if not isinstance(line, FileLine):
                    root.folder(line.path)
                    continue
                _write(line, os.path.basename(place) if single else line.path, root, outgoing)
                outgoing.counts.add(line)
                premis.add("object", file_object(line, version, number))
        if single and not outgoing.counts.files:
            raise version.missing()
        premis.finish([(version, str(header.get("title", "")))], outgoing.history())


def _write(line: FileLine, name: bytes, root: Tree, outgoing: Outgoing) -> None:
    def copy(sink: Sink) -> None:
        copied(outgoing.objects, line, sink)

    root.file(name, copy, mtime_ns(line))
