"""What PRONOM calls a format: names for PUIDs, from the list that comes with FIDO, without loading FIDO itself."""

import importlib.util
import os
from collections.abc import Collection
from xml.etree import ElementTree as ET

LIST = os.path.join("conf", "formats-v109.xml")


def names_of(puids: Collection[str]) -> dict[str, str]:
    """Return the name, and the version where the name does not say it, of each PUID that the list has.

    Nothing is returned where the list is missing or cannot be read: a PUID is enough to look a format up.
    """
    found = importlib.util.find_spec("fido")
    if found is None or found.origin is None or not puids:
        return {}
    names: dict[str, str] = {}
    try:
        for _, element in ET.iterparse(os.path.join(os.path.dirname(found.origin), LIST)):  # noqa: S314 - its own file
            if element.tag == "format":
                puid = element.findtext("puid") or ""
                if puid in puids:
                    names[puid] = _full(element.findtext("name") or "", element.findtext("version") or "")
                element.clear()
    except (OSError, ET.ParseError):
        return {}
    return names


def _full(name: str, version: str) -> str:
    return name if not version or version in name else f"{name} {version}"
