"""Every failure we name: one family, whose message is a template with the evidence as fields.

Damage is a finding, not an error. An error means that we could not do or could not look.
"""

import re
from collections.abc import Iterable
from string import Formatter
from typing import ClassVar, Self

_FORM = re.compile(r"[.,]?[0-9]{0,3}[a-z]?")
"""How a template may shape a value; none of ours asks for more."""

REASON = "reason"
"""The name of evidence that says why, in a sentence."""


def marked(text: str) -> str:
    """Mark a text for translation; it is translated where it is shown to a person."""
    return text


class Phrase(str):
    """A sentence with values: the English text, which knows the ``template`` it was made of and its ``evidence``.

    It is an ordinary text wherever it is compared, logged, or written as JSON. Only where a person reads it, the
    template is translated before it is filled in. What is cut out of a phrase or added to it is English, nothing else.
    """

    __slots__ = ("evidence", "template")
    template: str
    evidence: dict[str, object]

    def __new__(cls, template: str, /, **evidence: object) -> Self:
        """Return ``template`` filled with ``evidence``. A number is given as it is to be read, or whole."""
        made = super().__new__(cls, template.format(**evidence))
        made.template = template
        made.evidence = evidence
        return made

    def __str__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (_said_again, (self.template, self.evidence))


def _said_again(template: str, evidence: dict[str, object]) -> Phrase:
    return Phrase(template, **evidence)


def kept(text: str) -> object:
    """Return what JSON keeps of a text so that ``from_kept`` gives it back: a phrase with its template and evidence."""
    if not isinstance(text, Phrase):
        return text
    evidence = {
        name: value if value is None or isinstance(value, (bool, int, float)) else kept(_text(value))
        for name, value in text.evidence.items()
    }
    return {"template": text.template, "evidence": evidence}


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def from_kept(value: object) -> str:
    """Return the text that ``kept`` was given.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: It never was.
    """
    if not isinstance(value, dict):
        return str(value)
    for _, name, form, _ in Formatter().parse(value["template"]):
        if name is not None and not (name.isidentifier() and _FORM.fullmatch(form or "")):
            raise ValueError(name)  # it would look into a value, or fill a line without end
    evidence = {
        name: from_kept(one) if isinstance(one, (dict, str)) else one for name, one in value["evidence"].items()
    }
    return Phrase(value["template"], **evidence)


def joined(parts: Iterable[str], between: str = "; ") -> Phrase:
    """Return ``parts``, which may be phrases or reasons that stand for themselves, as one phrase."""
    reasons = {f"{REASON}_{number}": part for number, part in enumerate(parts)}
    return Phrase(between.join(f"{{{name}}}" for name in reasons), **reasons)


def is_worded(name: str) -> bool:
    """Return whether a text under this name of evidence is a sentence of ours: ``reason``, ``reason_1``, ...

    Anything else may be the name of a file, and is never looked up among the translations.
    """
    return name == REASON or name.startswith(f"{REASON}_")


class MocbanError(Exception):
    """The root of the family.

    ``template`` is the message in English with ``{fields}``; ``evidence`` holds the values. The command line translates
    the template before it fills it in, so that the same error reads well in every language.
    """

    template: ClassVar[str] = marked("Something went wrong: {reason}")

    def __init__(self, **evidence: object) -> None:
        super().__init__()
        self.evidence = evidence

    def __str__(self) -> Phrase:
        return Phrase(self.template, **self.evidence)

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (type(self), self.evidence))


def _again(kind: type[MocbanError], evidence: dict[str, object]) -> MocbanError:
    return kind(**evidence)


class StorageError(MocbanError):
    """A store could not do what it was asked."""

    template = marked("Store failure at {place}: {reason}")


class KeyMissingError(StorageError):
    """There is no item under this key, and the store itself is there."""

    template = marked("{place}: there is no item {key}")


class KeyExistsError(StorageError):
    """There is an item under this key already; it was not touched."""

    template = marked("{place}: {key} exists already and is never overwritten")


class BadKeyError(StorageError):
    """The key could leave the store or cannot be kept by every medium."""

    template = marked("{key!r} is not a key that a store can keep: {reason}")


class SourceLengthError(StorageError):
    """The source gave more or fewer bytes than it promised; nothing was stored."""

    template = marked("{place}: {key} was announced with {expected} bytes but came with {found}; nothing was stored")


class StoreUnavailableError(StorageError):
    """The place itself is not there or is not our store: nothing can be said about its items."""

    template = marked("{place}: the store is not available ({reason}); nothing can be said about its items")


class StoreFullError(StorageError):
    """The item does not fit, or would eat into the reserve."""

    template = marked("{place}: no space for {needed} bytes; {free} are free and {reserve} are kept in reserve")


class StoreRefusesError(StorageError):
    """The store does not let us do this: read-only, no permission, write once."""

    template = marked("{place}: not permitted: {reason}")


class ReadFailureError(StorageError):
    """The item is there but its bytes could not be read."""

    template = marked("{place}: {key} could not be read: {reason}")


class TransientError(StorageError):
    """The store is there but asks to be tried again: busy, slowed down, timed out."""

    template = marked("{place}: not now: {reason}")


class NotRecalledError(StorageError):
    """The item lies on a medium that must be recalled first (tape, cold object storage)."""

    template = marked("{place}: {key} must be recalled before it can be read")


class GenerationChangedError(StorageError):
    """The item is no longer the generation that was expected; it was not touched."""

    template = marked("{place}: {key} was changed by somebody else; it was not touched")
