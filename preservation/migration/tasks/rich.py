"""The text of RTF (Rich Text Format 1.9): groups, code pages of fonts, Unicode with its replacements."""

import re
from dataclasses import dataclass, replace

from preservation.migration.tasks import TaskRefusedError

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_LONGEST = 256 << 20
_DEEP = 4_000
_ASIDE = frozenset(
    b"fonttbl colortbl stylesheet info pict objdata header headerl headerr headerf footer footerl footerr footerf"
    b" fldinst themedata datastore listtable listoverridetable listtext pntext revtbl rsidtbl generator xmlnstbl"
    b" latentstyles filetbl atnid atnauthor annotation bkmkstart bkmkend nonshppict private mmathPr wgrffmtfilter"
    b" datafield fontemb tc tcn xe".split()
)
_BREAKS = frozenset(b"par line tab cell row page sect nestcell nestrow column".split())
_CHARSETS = {77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254"}
_CHARSETS |= {163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250"}
_SIGNS = {b"emdash": "\u2014", b"endash": "\u2013", b"lquote": "\u2018", b"rquote": "\u2019"}
_SIGNS |= {b"ldblquote": "\u201c", b"rdblquote": "\u201d"}


@dataclass(slots=True)
class _State:
    """What holds inside a group."""

    aside: bool = False
    fonts: bool = False
    skip: int = 1
    font: int = 0
    hidden: bool = False


class _Reader:
    """Goes through the tokens once."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.stack = [_State()]
        self.charsets: dict[int, str] = {}
        self.page = "cp1252"
        self.left = 0
        self.raw = bytearray()

    def group(self, sign: bytes) -> None:
        self.flush()
        self.left = 0
        if sign == b"{":
            if len(self.stack) > _DEEP:
                raise TaskRefusedError("deep")
            self.stack.append(replace(self.stack[-1]))
        elif len(self.stack) > 1:
            self.stack.pop()

    def word(self, name: bytes, number: int | None) -> None:
        self.flush()
        state = self.stack[-1]
        if name == b"u" and number is not None:
            self.say(chr(number % 65536))
            self.left = state.skip
        elif name in _BREAKS:
            self.say(" ")
        elif name in _SIGNS:
            self.say(_SIGNS[name])
        else:
            self.setting(name, number or 0, state, off=number == 0)

    def setting(self, name: bytes, number: int, state: _State, *, off: bool) -> None:
        if name in _ASIDE:
            state.aside, state.fonts = True, name == b"fonttbl"
        elif name == b"uc":
            state.skip = number
        elif name == b"ansicpg":
            self.page = f"cp{number}"
        elif name == b"f":
            state.font = number
        elif name == b"fcharset" and state.fonts:
            self.charsets[state.font] = _CHARSETS.get(number, "")
        elif name in (b"v", b"deleted"):
            state.hidden = not off
        elif name == b"plain":
            state.hidden = False

    def bytes(self, content: bytes) -> None:
        if self.left:
            taken = min(self.left, len(content))
            self.left -= taken
            content = content[taken:]
        self.raw += content

    def say(self, text: str) -> None:
        state = self.stack[-1]
        if not state.aside and not state.hidden:
            self.text.append(text)

    def flush(self) -> None:
        if self.raw:
            page = self.charsets.get(self.stack[-1].font) or self.page
            try:
                self.say(self.raw.decode(page, "replace"))
            except LookupError:
                self.say(self.raw.decode("cp1252", "replace"))
            self.raw.clear()


def rtf_text(path: str) -> str:
    """What somebody wrote: body, tables and footnotes, without headers, pictures and hidden text."""
    with open(path, "rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST or not content.lstrip().startswith(b"{\\rtf"):
        raise TaskRefusedError("rtf")
    reader = _Reader()
    place = 0
    while place < len(content):
        token = _TOKEN.match(content, place)
        if token is None:
            raise TaskRefusedError("rtf")
        place = token.end()
        if token[1] == b"bin":
            place += max(0, int(token[2] or 0))
        else:
            _taken(token, reader)
    return _joined("".join(reader.text))


def _taken(token: re.Match[bytes], reader: _Reader) -> None:
    name, number, code, sign, brace, plain = token.groups()
    if name:
        reader.word(name, int(number) if number else None)
    elif code:
        reader.bytes(bytes([int(code, 16)]))
    elif sign == b"*":
        reader.stack[-1].aside = True
    elif sign in (b"\r", b"\n"):
        reader.word(b"par", None)
    elif sign:
        reader.bytes({b"~": b" ", b"_": b"-"}.get(sign, sign if sign in b"\\{}" else b""))
    elif brace:
        reader.group(brace)
    elif plain:
        reader.bytes(plain)


def _joined(text: str) -> str:
    """Join the halves of letters beyond the first plane."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
