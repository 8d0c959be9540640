"""PREMIS 3 as plain values: file, representation, event, agent, in the order of elements that its schema wants.

A value is a dictionary whose keys are element names of the PREMIS 3.0 schema (``@`` marks an attribute, ``#text`` the
text beside attributes), a list where an element is repeated, or text. XML and JSON are written from the same values.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from preservation.dissemination.copying import Version
from preservation.formats.identification import Identification
from preservation.identifications import Newest
from preservation.ledger.events import LOCAL, EventType, Record, time_text
from preservation.manifest import FileLine

Element: TypeAlias = "str | int | Mapping[str, Element] | Sequence[Element]"

NAMESPACE = "http://www.loc.gov/premis/v3"
LOCAL_NAMESPACE = LOCAL + "premis"
EVENT_TYPES = "http://id.loc.gov/vocabulary/preservation/eventType"
PACK = "mocban pack"
VERSION = "mocban package version"
FILE = "mocban file"
OBJECT = "mocban object"
AGENT = "mocban agent"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha224": "SHA-224", "sha256": "SHA-256", "sha512": "SHA-512"}


def allowed(text: str) -> str:
    """Return ``text`` with U+FFFD for each character that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def _fixity(algorithm: str, digest: str, originator: str = "") -> dict[str, Element]:
    found: dict[str, Element] = {"messageDigestAlgorithm": algorithm, "messageDigest": digest}
    return {**found, "messageDigestOriginator": originator} if originator else found


def _fixities(line: Mapping[str, Any]) -> list[Element]:
    supplied = line.get("supplied", [])
    return [
        _fixity("BLAKE3", str(line["blake3"])),
        _fixity("SHA-256", str(line["sha256"])),
        *(
            _fixity(_ALGORITHMS.get(one["algorithm"], one["algorithm"]), str(one["value"]), "submission")
            for one in supplied
        ),
    ]


def _formats(entry: Mapping[str, Any], notes: Sequence[str] = ()) -> list[Element]:
    """Return the formats that an identification names, as a manifest has it; what PRONOM calls them is not repeated."""
    found: list[Element] = []
    for one in entry.get("formats", []):
        registry = {"formatRegistryName": "PRONOM", "formatRegistryKey": str(one["puid"])}
        note = f"by {one.get('basis')}, {one.get('tool')}, {one.get('signatures')}"
        found.append({"formatRegistry": registry, "formatNote": [allowed(note), *notes]})
    if found:
        return found
    note = f"identification: {entry.get('identification', 'off')}"
    return [{"formatDesignation": {"formatName": "unknown"}, "formatNote": [allowed(note), *notes]}]


def _notes(newest: Newest, version: Version) -> list[str]:
    """Return what must be said beside the formats: that two tools disagree, or that nobody knows what came later."""
    notes = [] if version.later.is_read else ["what was found later could not be read"]
    if newest.conflict is not None:
        puids = " ".join(newest.conflict.second) or "nothing"
        notes.append(allowed(f"not decided: {newest.conflict.second_tool} says {puids}"))
    return notes


def _earlier(answer: Identification) -> Element:
    """Return an answer that another one has taken the place of."""
    said = [f"{match.puid} by {match.basis}, {match.tool}, {match.signatures}" for match in answer.formats]
    return {"mocban:format": [allowed(one) for one in said or [str(answer.status)]]}


def _original_name(path: bytes) -> tuple[str, bool]:
    """Return the name as XML can hold it, and whether that is the exact name."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return allowed(path.decode("utf-8", "backslashreplace")), False
    return allowed(text), allowed(text) == text


def file_object(line: FileLine, version: Version, number: int) -> dict[str, Element]:
    """Return the file ``number`` (from 1) of a package version; what PREMIS has no element for is an extension."""
    name, exact = _original_name(line.path)
    more: dict[str, Element] = {}
    if line.line.get("mtime"):
        more["mocban:modified"] = allowed(str(line.line["mtime"]))
    if not exact:
        more["mocban:pathBase64"] = base64.b64encode(line.path).decode()
    newest, events = version.later.newest(line)
    said = newest.answer.to_json() if events else line.line
    warnings = [allowed(str(one)) for one in cast("Sequence[object]", said.get("warnings", []))]
    if warnings:
        more["mocban:warning"] = warnings
    if newest.before:
        more["mocban:earlier"] = [_earlier(one) for one in newest.before]
    derived = line.line.get("derived")
    if derived is not None:
        more["mocban:use"] = allowed(str(derived.get("use", "")))
    characteristics: dict[str, Element] = {
        "compositionLevel": 0,
        "fixity": _fixities(line.line),
        "size": line.size,
        "format": _formats(said, _notes(newest, version)),
    }
    if more:
        characteristics["objectCharacteristicsExtension"] = {"mocban:file": more}
    found: dict[str, Element] = {
        "@xsi:type": "file",
        "objectIdentifier": _identifiers(line, f"{version.name}/{number}"),
        "objectCharacteristics": characteristics,
        "originalName": name,
        "relationship": _relationships(line, version),
    }
    if events:
        found["linkingEventIdentifier"] = [
            {"linkingEventIdentifierType": "UUID", "linkingEventIdentifierValue": one} for one in events
        ]
    return found


def _identifiers(line: FileLine, name: str) -> Element:
    """Return how a file is named: by its place, and by its content too if it has part in a migration."""
    found = {"objectIdentifierType": FILE, "objectIdentifierValue": name}
    if not {"derived", "derivatives"} & line.line.keys():
        return found
    return [found, {"objectIdentifierType": OBJECT, "objectIdentifierValue": f"blake3:{line.blake3}"}]


def _relationships(line: FileLine, version: Version) -> Element:
    structural: dict[str, Element] = {
        "relationshipType": "structural",
        "relationshipSubType": "is part of",
        "relatedObjectIdentifier": {
            "relatedObjectIdentifierType": VERSION,
            "relatedObjectIdentifierValue": version.name,
        },
    }
    related: list[Element] = [
        _derivation("is source of", one["blake3"], one["event"]) for one in line.line.get("derivatives", [])
    ]
    derived = line.line.get("derived")
    if derived is not None:
        related.append(_derivation("has source", derived["from"]["blake3"], derived["event"]))
    return [structural, *related] if related else structural


def _derivation(kind: str, blake3: str, event_id: str) -> dict[str, Element]:
    return {
        "relationshipType": "derivation",
        "relationshipSubType": kind,
        "relatedObjectIdentifier": {
            "relatedObjectIdentifierType": OBJECT,
            "relatedObjectIdentifierValue": f"blake3:{blake3}",
        },
        "relatedEventIdentifier": {"relatedEventIdentifierType": "UUID", "relatedEventIdentifierValue": event_id},
    }


def representation(version: Version, title: str) -> dict[str, Element]:
    """Return a package version as a representation, with the packs that it lies in."""
    found: dict[str, Element] = {
        "@xsi:type": "representation",
        "objectIdentifier": {"objectIdentifierType": VERSION, "objectIdentifierValue": version.name},
        "originalName": allowed(title),
    }
    if version.stored:
        found["storage"] = [
            {"contentLocation": {"contentLocationType": PACK, "contentLocationValue": f"blake3:{pack}"}}
            for pack in version.stored
        ]
    return found


def _event_type(kind: str) -> Element:
    if kind.startswith(LOCAL):
        return {"@authority": "mocban", "@valueURI": kind, "#text": kind.removeprefix(LOCAL)}
    return {"@authority": "eventType", "@authorityURI": EVENT_TYPES, "#text": kind}


def event(record: Record, versions: Sequence[Version], checks: int = 0) -> dict[str, Element]:
    """Return an event as the ledger has it; ``checks`` is how many earlier ones of a copy it stands for, and itself.

    Its detail stands verbatim as JSON; the extension says where in the ledger it is.
    """
    detail = record.event.detail
    more: dict[str, Element] = {"mocban:sequence": record.seq}
    if checks:
        more["mocban:checks"] = checks
    text = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found: dict[str, Element] = {
        "eventIdentifier": {"eventIdentifierType": "UUID", "eventIdentifierValue": record.event_id},
        "eventType": _event_type(record.event.type),
        "eventDateTime": time_text(record.time),
        "eventDetailInformation": {
            "eventDetail": allowed(text),
            "eventDetailExtension": {"mocban:ledger": more},
        },
        "eventOutcomeInformation": {"eventOutcome": str(record.event.outcome)},
        "linkingAgentIdentifier": {
            "linkingAgentIdentifierType": AGENT,
            "linkingAgentIdentifierValue": allowed(record.event.agent),
        },
    }
    # Such an event is about many packages; the files that it is about name it themselves.
    links = [] if record.event.type == EventType.FORMAT_IDENTIFICATION else _links(detail, versions)
    if links:
        found["linkingObjectIdentifier"] = links
    return found


def _links(detail: Mapping[str, object], versions: Sequence[Version]) -> list[Element]:
    named: list[tuple[str, str]] = []
    if "package" in detail and "version" in detail:
        named.append((VERSION, f"{detail['package']}/v{detail['version']}"))
    if "pack" in detail:
        named.append((PACK, f"blake3:{detail['pack']}"))
        if len(named) == 1:
            named += [(VERSION, one.name) for one in versions if detail["pack"] in one.packs]
    return [{"linkingObjectIdentifierType": kind, "linkingObjectIdentifierValue": value} for kind, value in named]


def agent(name: str) -> dict[str, Element]:
    """Return an agent, who is known by name only."""
    identifier = {"agentIdentifierType": AGENT, "agentIdentifierValue": allowed(name)}
    return {"agentIdentifier": identifier, "agentName": allowed(name)}
