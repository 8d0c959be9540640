"""What is known of kinds of cartridges: which generation of LTO they are, and how often they may be loaded.

The kind is the last two characters of a barcode (IBM LTO Ultrium Cartridge Label Specification); WORM cartridges have
letters of their own. How often each may be loaded and unloaded: IBM TS2900 Tape Autoloader, Setup, Operator and Service
Guide, table 18 (nominal cartridge life). It ends with LTO-8; later generations are taken to bear as much.
"""

KIND_LENGTH = 2

_GENERATIONS = {
    **{f"L{number}": number for number in range(1, 10)},
    "LT": 3,
    "LU": 4,
    "LV": 5,
    "LW": 6,
    "LX": 7,
    "LY": 8,
    "LZ": 9,
    "M8": 7,
    "LA": 10,
    "PA": 10,
}
"""M8 is a cartridge of LTO-7 in the format of LTO-8; LTO-10 comes in two lengths."""

_LOADS = {1: 5_000, 2: 10_000}
_LATER_LOADS = 20_000


def kind_of(barcode: str) -> str:
    """Return the kind of a cartridge, as its barcode ends."""
    return barcode[-KIND_LENGTH:]


def generation_of(kind: str) -> int:
    """Return the generation of LTO; 0 if it is none that is known, such as an image or one without a barcode."""
    return _GENERATIONS.get(kind, 0)


def loads_of(kind: str) -> int:
    """Return how often a cartridge may be loaded; 0 if that is not known."""
    generation = generation_of(kind)
    return _LOADS.get(generation, _LATER_LOADS) if generation else 0
