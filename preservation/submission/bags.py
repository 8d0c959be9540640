"""BagIt bags, versions 0.93 to 1.0 (RFC 8493 and its drafts): what their tag files say.

Reading the content and comparing digests comes after. Paths in manifests are only ever compared with the paths of files
that the scan found; none is opened, so none can lead anywhere. Nothing is fetched.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from preservation.submission.entries import Quotas, Remarks, SubmittedFile, SuppliedDigest
from preservation.submission.errors import (
    BagAlgorithmError,
    BagConflictError,
    BagDeclarationError,
    BagFetchError,
    BagManifestError,
    BagOxumError,
    ControlCharacterError,
    EscapingPathError,
    SubmissionChangedError,
    shown,
)
from preservation.submission.folders import refusal
from preservation.submission.lines import lines
from preservation.submission.names import checked_path, percent_decoded
from preservation.submission.supplied import BAG, SuppliedDigests, algorithm_named, new_hasher
from preservation.submission.tree import Tree
from storage_backends.errors import Phrase, marked

DECLARATION = b"bagit.txt"
PAYLOAD = b"data/"

_VERSIONS = frozenset({"0.93", "0.94", "0.95", "0.96", "0.97", "1.0"})
_LARGEST_DECLARATION = 4_096
_LARGEST_INFO = 1 << 20

_MANIFEST = re.compile(rb"(tag)?manifest-([A-Za-z0-9_-]{1,32})\.txt").fullmatch
_LINE = re.compile(r"([0-9A-Za-z]+)[ \t]+(\*?)(.+)").fullmatch
_FETCH = re.compile(r"\S+[ \t]+([0-9]{1,20}|-)[ \t]+(.+)").fullmatch
_OXUM = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})").fullmatch

# Python knows codecs that are no character sets, some of which unpack (zlib, bz2): only these are let in.
_ENCODINGS = re.compile(
    r"ascii|utf-8|utf-16(-[bl]e)?|utf-32(-[bl]e)?|iso8859-\d+|cp125\d|cp\d{3}|koi8-[rtu]|mac-[a-z-]+|gb18030|gbk|gb2312"
    r"|hz|big5|big5hkscs|euc_(jp|kr)|shift_jis|iso2022_(jp|kr)"
).fullmatch


@dataclass(frozen=True, slots=True)
class Declaration:
    """What ``bagit.txt`` says; ``codec`` is Python's name of the encoding."""

    version: str
    encoding: str
    codec: str

    @property
    def final(self) -> bool:
        """Whether the stricter rules of version 1.0 hold."""
        return self.version == "1.0"


@dataclass(slots=True)
class Bag:
    """A bag as its tag files describe it."""

    declaration: Declaration
    algorithms: list[str] = field(default_factory=list)
    tag_algorithms: list[str] = field(default_factory=list)
    info: list[list[str]] = field(default_factory=list)
    fetch: SubmittedFile | None = None

    def description(self) -> dict[str, object]:
        """For the manifest's header."""
        return {
            "version": self.declaration.version,
            "encoding": self.declaration.encoding,
            "algorithms": self.algorithms,
            "info": self.info,
        }


def is_bag(names: list[bytes]) -> bool:
    """Tell by the names in a folder's root whether it is a bag; refuse what is a bag but for its declaration."""
    if DECLARATION in names:
        return True
    if PAYLOAD in names and any((match := _MANIFEST(name)) and not match[1] for name in names):
        raise BagDeclarationError(path="bagit.txt", reason="is missing, though a payload manifest and data/ are there")
    return False


def read_bag(tree: Tree, supplied: SuppliedDigests, remarks: Remarks, quotas: Quotas) -> Bag:
    """Read the declaration, all manifests (into ``supplied``) and the metadata of the bag at the root of ``tree``.

    Raises:
        SubmissionRefusedError: Anything in them is not as the standard says, or leads out of the bag.
    """
    names = tree.root_names()
    if PAYLOAD not in names:
        raise BagDeclarationError(path="data/", reason="the folder is missing")
    bag = Bag(_declaration(tree))
    reading = _ManifestReading(tree, supplied, remarks, quotas, bag.declaration)
    unknown = [name for name in names if (match := _MANIFEST(name)) and not _read_manifest(reading, name, match, bag)]
    for name in unknown:
        if not bag.algorithms:
            raise BagAlgorithmError(path=shown(name))
        remarks.add("unknown-algorithm", name, Phrase("this manifest was not used: its digest is not known"))
    if not bag.algorithms:
        raise BagDeclarationError(path="manifest-*.txt", reason="there is no payload manifest")
    for name in (b"bag-info.txt", b"package-info.txt"):
        if name in names:
            bag.info += _read_info(tree, name, bag.declaration)
    bag.fetch = tree.find(b"fetch.txt")
    return bag


def _undeclared(reason: str) -> BagDeclarationError:
    return BagDeclarationError(path="bagit.txt", reason=reason)


def _declared_lines(tree: Tree) -> list[str]:
    """Return the two lines of ``bagit.txt``, which is UTF-8 without a byte order mark (RFC 8493, 2.1.1)."""
    file = tree.find(DECLARATION)
    if file is None or file.size > _LARGEST_DECLARATION:
        raise _undeclared(marked("it is not a small file"))
    raw = tree.read_small(file, _LARGEST_DECLARATION)
    if raw.startswith(codecs.BOM_UTF8):
        raise _undeclared(marked("it begins with a byte order mark"))
    try:
        said = re.split(r"\r\n|\r|\n", raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise _undeclared(marked("it is not UTF-8")) from None
    while said and not said[-1]:
        said.pop()
    if len(said) != 2:  # noqa: PLR2004
        raise _undeclared(marked("it must have exactly two lines"))
    return said


def _declaration(tree: Tree) -> Declaration:
    said = _declared_lines(tree)
    version = re.fullmatch(r"BagIt-Version\s*:\s*(\d+\.\d+)\s*", said[0], re.ASCII)
    encoding = re.fullmatch(r"Tag-File-Character-Encoding\s*:\s*([A-Za-z0-9._:-]{1,40})\s*", said[1], re.ASCII)
    if version is None or version[1] not in _VERSIONS:
        raise _undeclared(marked("the first line does not name a BagIt version from 0.93 to 1.0"))
    if encoding is None:
        raise _undeclared(marked("the second line does not name an encoding"))
    strictly = [f"BagIt-Version: {version[1]}", f"Tag-File-Character-Encoding: {encoding[1]}"]
    if version[1] == "1.0" and said != strictly:
        raise _undeclared(marked("there is white space where version 1.0 allows none"))
    try:
        codec = codecs.lookup(encoding[1]).name
    except LookupError:
        codec = ""
    if not _ENCODINGS(codec):
        raise _undeclared(Phrase("the encoding {encoding!r} is not known", encoding=encoding[1]))
    return Declaration(version[1], encoding[1], codec)


@dataclass(frozen=True, slots=True)
class _ManifestReading:
    tree: Tree
    supplied: SuppliedDigests
    remarks: Remarks
    quotas: Quotas
    declaration: Declaration


def tag_lines(tree: Tree, name: bytes, declaration: Declaration) -> Iterator[tuple[int, str]]:
    """Yield the lines of a tag file in the root that are not empty, with their numbers."""
    file = tree.find(name)
    if file is None:
        raise SubmissionChangedError(path=shown(name), reason="it vanished")
    try:
        with tree.open(file) as source:
            for number, line in lines(source, declaration.codec, path=shown(name), error=BagManifestError):
                text = line.removeprefix("\ufeff") if number == 1 else line
                if text:
                    yield number, text
            tree.changed(file, source.fileno())
    except OSError as error:
        raise refusal(name, error) from error


def _read_manifest(at: _ManifestReading, name: bytes, match: re.Match[bytes], bag: Bag) -> bool:
    """Take in a manifest; return False if we cannot compute its digests."""
    algorithm = algorithm_named(match[2].decode())
    if algorithm is None:
        return False
    known = bag.tag_algorithms if match[1] else bag.algorithms
    if algorithm in known:
        raise BagConflictError(
            path=shown(name), reason=Phrase("there are two manifests for {algorithm}", algorithm=algorithm)
        )
    known.append(algorithm)
    _read_listed(at, name, algorithm, tag=match[1] is not None)
    return True


def _read_listed(at: _ManifestReading, name: bytes, algorithm: str, *, tag: bool) -> None:
    digits = len(new_hasher(algorithm).digest()) * 2
    manifest = shown(name)
    marks: set[str] = set()
    for number, line in tag_lines(at.tree, name, at.declaration):
        match = _LINE(line)
        if match is None:
            raise BagManifestError(path=manifest, line=number, reason="this is not a digest and a path")
        value, star, written = match.groups()
        if len(value) != digits or not re.fullmatch(r"[0-9A-Fa-f]+", value):
            raise BagManifestError(
                path=manifest,
                line=number,
                reason=Phrase("{value!r} is not a {algorithm} digest", value=value[:140], algorithm=algorithm),
            )
        if star:
            marks.add("md5sum-style")
        if written.startswith("./"):
            marks.add("dot-slash")
        path = bag_path(written, at.declaration, at.quotas)
        if tag == path.startswith(PAYLOAD):
            reason = (
                marked("a tag manifest must not list it")
                if tag
                else marked("a payload manifest lists it, but it is not below data/")
            )
            raise EscapingPathError(path=shown(path), reason=reason)
        before = at.supplied.add(path, SuppliedDigest(algorithm, value.lower()), BAG)
        if before is not None:
            _listed_again(at, path, manifest, same=before == value.lower())
    for code in sorted(marks):
        at.remarks.add(code, name, _MARKS[code])


_MARKS = {
    "md5sum-style": Phrase("the manifest has asterisks before its paths, as md5sum writes them"),
    "dot-slash": Phrase("the manifest has paths that begin with ./"),
}


def _listed_again(at: _ManifestReading, path: bytes, manifest: str, *, same: bool) -> None:
    if not same:
        raise BagConflictError(
            path=shown(path), reason=Phrase("it is listed with different digests in {manifest}", manifest=manifest)
        )
    if at.declaration.final:
        raise BagConflictError(
            path=shown(path),
            reason=Phrase("it is listed twice in {manifest}, which version 1.0 forbids", manifest=manifest),
        )
    at.remarks.add("listed-twice", path, Phrase("listed twice in {manifest}, with the same digest", manifest=manifest))


def bag_path(written: str, declaration: Declaration, quotas: Quotas) -> bytes:
    """Return the path on disk that a manifest or ``fetch.txt`` means: UTF-8, percent-decoded from version 1.0 on."""
    path = written.encode("utf-8")
    if declaration.final:
        path = percent_decoded(path)
    if b"\n" in path or b"\r" in path:
        raise ControlCharacterError(path=shown(path))
    return checked_path(path, longest=quotas.path, backslash=True)


def _read_info(tree: Tree, name: bytes, declaration: Declaration) -> list[list[str]]:
    """Return the metadata as [label, value] in the order of the file; a label may come several times."""
    file = tree.find(name)
    if file is not None and file.size > _LARGEST_INFO:
        raise BagManifestError(
            path=shown(name), line=0, reason=Phrase("the file is larger than {limit} bytes", limit=_LARGEST_INFO)
        )
    found: list[list[str]] = []
    for number, line in tag_lines(tree, name, declaration):
        label, colon, value = line.partition(":")
        if line[0] in " \t" and found:
            found[-1][1] += " " + line.strip()
        elif line.strip():
            if not colon or not label.strip():
                raise BagManifestError(path=shown(name), line=number, reason="this is not a label, a colon and a value")
            found.append([label.strip(), value.strip()])
    return found


def check_oxum(bag: Bag, size: int, count: int) -> None:
    """Compare what the metadata says about the payload with what is there.

    Raises:
        BagOxumError: A ``Payload-Oxum`` is not true, or not two numbers.
    """
    for label, value in bag.info:
        if label.lower() != "payload-oxum":
            continue
        match = _OXUM(value)
        if match is None or (int(match[1]), int(match[2])) != (size, count):
            raise BagOxumError(path="bag-info.txt", expected=value[:100], found=f"{size}.{count}")


def check_fetch(bag: Bag, tree: Tree, supplied: SuppliedDigests, aliases: dict[bytes, bytes], quotas: Quotas) -> int:
    """Check that everything that ``fetch.txt`` names is there, listed and as long as it says; return how much that is.

    Raises:
        BagFetchError, EscapingPathError, BagManifestError
    """
    if bag.fetch is None:
        return 0
    count = 0
    for number, line in tag_lines(tree, b"fetch.txt", bag.declaration):
        match = _FETCH(line)
        if match is None:
            raise BagManifestError(path="fetch.txt", line=number, reason="this is not an address, a length and a path")
        path = bag_path(match[2], bag.declaration, quotas)
        if not path.startswith(PAYLOAD):
            raise EscapingPathError(path=shown(path), reason="fetch.txt lists it, but it is not below data/")
        path = aliases.get(path, path)
        file = tree.find(path)
        if file is None:
            raise BagFetchError(path=shown(path), reason="is not in the bag")
        if match[1] != "-" and int(match[1]) != file.size:
            raise BagFetchError(
                path=shown(path),
                reason=Phrase("has {size} bytes instead of {expected}", size=file.size, expected=match[1]),
            )
        if not supplied.of(path, BAG):
            raise BagFetchError(path=shown(path), reason="is in no manifest")
        count += 1
    return count
