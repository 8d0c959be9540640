"""Why a submission is refused: one error a reason, each with a stable code, naming the file concerned.

Nothing of a refused submission is stored.
"""

from typing import ClassVar

from storage_backends.errors import MocbanError, marked


def shown(path: bytes | str) -> str:
    """Return a path as one harmless line of text: what is not printable (terminal codes, bidi marks) is escaped."""
    text = path if isinstance(path, str) else path.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class SubmissionRefusedError(MocbanError):
    """The submission cannot be taken as it is; ``code`` names the reason for scripts and never changes."""

    code: ClassVar[str] = "refused"
    template = marked("{path}: refused: {reason}")


class SubmissionMissingError(SubmissionRefusedError):
    """There is nothing at the path that was named."""

    code = "not-there"
    template = marked("{path}: there is nothing at this path")


class SubmissionEmptyError(SubmissionRefusedError):
    """There is no file and no folder in it."""

    code = "empty"
    template = marked("{path}: there is nothing in this submission")


class SubmissionUnreadableError(SubmissionRefusedError):
    """The operating system did not let us read; nothing can be said about the content."""

    code = "unreadable"
    template = marked("{path}: could not be read: {reason}")


class SubmissionChangedError(SubmissionRefusedError):
    """Somebody wrote to the submission while it was read."""

    code = "changed"
    template = marked("{path}: changed while read ({reason}); hand it over again when nobody writes to it")


class StagingError(SubmissionRefusedError):
    """The staging folder could not take what it must hold."""

    code = "staging"
    template = marked("{path}: could not be unpacked into staging: {reason}")


class StagingInsideError(SubmissionRefusedError):
    """The staging folder lies in the submission, which would then contain itself."""

    code = "staging-inside"
    template = marked("{path}: this folder of the submission is the repository's own staging folder")


class SymbolicLinkError(SubmissionRefusedError):
    """A symbolic link; none is followed, wherever it leads."""

    code = "symbolic-link"
    template = marked("{path}: is a symbolic link; links are never followed: put the file itself in its place")


class HardLinkError(SubmissionRefusedError):
    """A file has other names outside the submission, through which it can be changed."""

    code = "hard-link"
    template = marked(
        "{path}: has {links} names (hard links), of which only {found} lie in the submission; copy it first"
    )


class SpecialFileError(SubmissionRefusedError):
    """A device, FIFO or socket."""

    code = "special-file"
    template = marked("{path}: is a {kind}, not a file or a folder")


class ControlCharacterError(SubmissionRefusedError):
    """A name holds a control character."""

    code = "control-character"
    template = marked("{path}: the name holds a control character")


class EscapingPathError(SubmissionRefusedError):
    """A path in an archive or a list leads, or could lead, out of the submission."""

    code = "escaping-path"
    template = marked("{path}: the path leads out of the submission ({reason})")


class NameTooLongError(SubmissionRefusedError):
    """A name or path is longer than what can be kept."""

    code = "too-long"
    template = marked("{path}: the name or path has {size} bytes; at most {limit} are allowed")


class TooDeepError(SubmissionRefusedError):
    """Folders lie in folders beyond the limit."""

    code = "too-deep"
    template = marked("{path}: more than {limit} folders lie in one another")


class QuotaError(SubmissionRefusedError):
    """An archive unpacks to more than the quota allows."""

    code = "quota"
    template = marked("{path}: {reason}")


class ArchiveDamagedError(SubmissionRefusedError):
    """The archive is cut short or is not what its name says."""

    code = "archive-damaged"
    template = marked("{path}: the archive cannot be read to its end: {reason}")


class ArchiveMemberError(SubmissionRefusedError):
    """An archive holds a member that is not a plain file or folder, or is encrypted."""

    code = "archive-member"
    template = marked("{path}: this member of the archive is refused: {reason}")


class ArchiveConflictError(SubmissionRefusedError):
    """Two parts of an archive contradict each other."""

    code = "archive-conflict"
    template = marked("{path}: the archive contradicts itself: {reason}")


class BagDeclarationError(SubmissionRefusedError):
    """``bagit.txt`` is missing, or not as the standard says."""

    code = "bag-declaration"
    template = marked("{path}: {reason}")


class BagManifestError(SubmissionRefusedError):
    """A manifest or another tag file cannot be read as the standard says."""

    code = "bag-manifest"
    template = marked("{path}, line {line}: {reason}")


class BagAlgorithmError(SubmissionRefusedError):
    """No manifest uses a digest that we can compute."""

    code = "bag-algorithm"
    template = marked("{path}: the digest is not known, and no other manifest covers the payload")


class BagConflictError(SubmissionRefusedError):
    """The manifests say two things about one file."""

    code = "bag-conflict"
    template = marked("{path}: the manifests contradict each other: {reason}")


class BagFileMissingError(SubmissionRefusedError):
    """A listed file is not there."""

    code = "bag-file-missing"
    template = marked("{path}: is listed in {listed} but is not in the bag")


class BagFileUnlistedError(SubmissionRefusedError):
    """A payload file is in no manifest, or not in each of them where the version asks for that."""

    code = "bag-file-unlisted"
    template = marked("{path}: {reason}")


class BagOxumError(SubmissionRefusedError):
    """``Payload-Oxum`` does not tell the truth."""

    code = "bag-oxum"
    template = marked("{path}: Payload-Oxum says {expected}, but the payload has {found} (bytes.files)")


class BagFetchError(SubmissionRefusedError):
    """``fetch.txt`` asks for what is not there; nothing is ever fetched."""

    code = "bag-fetch"
    template = marked("{path}: is listed in fetch.txt, and {reason}; nothing is fetched from a network")


class ChecksumListError(SubmissionRefusedError):
    """A list of checksums cannot be read."""

    code = "checksum-list"
    template = marked("{path}, line {line}: {reason}")


class ChecksumFileMissingError(SubmissionRefusedError):
    """A checksum list names a file that was not handed over."""

    code = "checksum-file-missing"
    template = marked("{path}: is named in the checksum list but is not in the submission")


class DigestMismatchError(SubmissionRefusedError):
    """The bytes are not those whose digest came with the submission."""

    code = "digest-mismatch"
    template = marked("{path}: the supplied {algorithm} is {expected}, but the file has {found}")
