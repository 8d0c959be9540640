"""What is known of single files that raises the risk of their format, from what identification noted of them."""

from preservation.formats import identification as words
from preservation.formats.identification import Identification

FALSE_PDF_A = "it claims to be PDF/A and is not"

FACTS = {
    words.CLAIMS_PDF_A: "claimed-pdfa",
    words.ENCRYPTED: "encrypted",
    words.SIGNED: "signed",
    words.MACROS: "macros",
    words.TEXT_TCVN3: "tcvn3",
    words.TEXT_VNI: "vni",
    words.TEXT_CP1258: "cp1258",
    words.TEXT_NOT_UTF_8: "not-utf8",
    words.CONTAINER_UNREADABLE: "unreadable-inside",
    words.FONTS_NOT_EMBEDDED: "fonts-not-embedded",
    words.FONTS_UNKNOWN: "fonts-unknown",
    FALSE_PDF_A: "false-pdfa",
}
"""The facts that warnings stand for."""

UNIDENTIFIED, NOT_LOOKED_AT, UNJUDGED = "unidentified", "not-looked-at", "unjudged"
EXTENSION_ONLY, AMBIGUOUS = "extension-only", "ambiguous"


def facts_of(answer: Identification) -> tuple[str, ...]:
    """Return the codes of what is known of a file, sorted, from its newest identification."""
    found = {FACTS[warning] for warning in answer.warnings if warning in FACTS}
    if {"claimed-pdfa", "encrypted"} <= found:  # ISO 19005 forbids encryption in all its parts
        found.add("false-pdfa")
    if "false-pdfa" in found:
        found.discard("claimed-pdfa")
    if answer.status == "unidentified":
        found.add(UNIDENTIFIED)
    elif answer.status != "identified":
        found.add(NOT_LOOKED_AT)
    elif len({match.puid for match in answer.formats}) > 1:
        found.add(AMBIGUOUS)
    if answer.formats and all(match.basis == "extension" for match in answer.formats):
        found.add(EXTENSION_ONLY)
    return tuple(sorted(found))
