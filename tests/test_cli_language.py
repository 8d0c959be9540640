"""English and Vietnamese: catalogs that are whole, output in any locale, names that cannot do harm."""

import gettext
import importlib
import string
import sys
import unicodedata
from datetime import datetime
from pathlib import Path

import pytest
from cli_support import FONDS, ROOT, archive, mocban_process

from commands.wording import DOMAIN, LOCALE, harmless, number_text, size_text, table, time_text
from storage_backends.errors import MocbanError

sys.path.insert(0, str(ROOT / "commands" / "locale"))
import update

VIETNAMESE = {"LANG": "vi_VN.UTF-8"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    made = archive(tmp_path_factory.mktemp("kept"))
    made("fonds", "add", "HOSTILE", "--title", "\x1b[31mred\x07\u202e")
    made.ingest()
    return made


@pytest.fixture(scope="module")
def catalog():
    return update.read("vi")


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def one_of(value):
    return value if isinstance(value, str) else value[0]


def test_every_text_of_the_code_is_in_the_catalog_and_nothing_else(catalog):
    wanted = {message.id for message in update.template() if message.id}
    assert wanted == {message.id for message in catalog if message.id}, "run commands/locale/update.py"


def test_no_text_is_untranslated(catalog):
    assert [] == [message.id for message in catalog if message.id and not one_of(message.string)]


def test_no_translation_is_marked_as_doubtful(catalog):
    assert [] == [message.id for message in catalog if message.fuzzy and message.id]


def test_translations_have_the_same_fields_as_the_texts(catalog):
    for message in catalog:
        if message.id:
            wanted = [message.id] if isinstance(message.id, str) else message.id
            assert fields(one_of(message.string)) in [fields(text) for text in wanted], message.id


def test_translations_are_in_composed_letters(catalog):
    for message in catalog:
        assert unicodedata.is_normalized("NFC", one_of(message.string)), message.id


def test_the_compiled_catalog_says_what_the_other_says(catalog):
    with open(Path(LOCALE) / "vi" / "LC_MESSAGES" / f"{DOMAIN}.mo", "rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalog:
        if isinstance(message.id, str) and message.id:
            assert compiled.gettext(message.id) == message.string
        elif message.id:
            assert compiled.ngettext(*message.id, 2) == message.string[0]
    assert len(compiled._catalog) == len(catalog) + 1


def every_error(kind=MocbanError):
    for room in ("storage_backends", "preservation", "audits"):
        for path in (ROOT / room).rglob("*.py"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    yield from below_of(kind)


def below_of(kind):
    for below in kind.__subclasses__():
        yield below
        yield from below_of(below)


def test_every_error_can_be_told_in_vietnamese(catalog):
    texts = {one_of(message.id) for message in catalog}
    own = {
        error.template for error in every_error() if error.__module__.startswith(("preservation", "storage", "audits"))
    }
    assert len(own) > 40
    assert set() == own - texts


def test_help_and_errors_are_vietnamese_where_the_locale_is(kept):
    said = mocban_process("--help", environment=VIETNAMESE)
    assert "Cách dùng: mocban" in said.out
    assert "Tiếp nhận một thư mục" in said.out
    said = mocban_process("-C", kept.path, "frob", environment={"LC_ALL": "vi_VN.UTF-8", "LANG": "en_US.UTF-8"})
    assert "Không có lệnh 'frob'." in said.err
    said = mocban_process("-C", kept.path / "x", "list", environment={"LC_MESSAGES": "vi_VN", "LANG": "C.UTF-8"})
    assert "không có kho lưu trữ" in said.err
    said = mocban_process("-C", kept.path, "status", environment=VIETNAMESE)
    assert "NƠI LƯU" in said.out


def test_reasons_from_the_system_are_vietnamese_too(tmp_path):
    (tmp_path / "file").write_text("")
    said = mocban_process("init", tmp_path / "file" / "x", environment=VIETNAMESE)
    assert said.status == 1
    assert "Lỗi: " in said.err
    assert "tệp đã tồn tại" in said.err or "không phải thư mục" in said.err


def test_json_is_the_same_in_every_language(kept):
    english = mocban_process("-C", kept.path, "list", "--json", environment={"LANG": "en_US.UTF-8"})
    vietnamese = mocban_process("-C", kept.path, "list", "--json", environment=VIETNAMESE)
    assert english.json == vietnamese.json


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict", **VIETNAMESE},
    ],
)
def test_vietnamese_names_stop_no_command_in_any_locale(kept, environment):
    said = mocban_process("-C", kept.path, "fonds", "list", environment=environment)
    assert (0, "") == (said.status, said.err)
    assert FONDS in said.out
    said = mocban_process("-C", kept.path, "fonds", "list", "--json", environment=environment)
    assert "UBND xã Tân Hòa" in [fonds["title"] for fonds in said.json]


def test_names_cannot_steer_a_terminal(kept):
    for command in (["fonds", "list"], ["list"], ["events"], ["status"]):
        for text in (kept(*command).out, kept(*command, "--json").out):
            assert not set("\x1b\x07") & set(text)
    assert "\\x1b[31mred\\x07\\u202e" in kept("fonds", "list").out
    said = kept("show", "\x1b]0;title\x07")
    assert "\\x1b]0;title\\x07" in said.err
    assert "\x1b" not in said.err


def test_times_are_local_for_people_and_utc_for_scripts(kept):
    ingested = kept.json("list")[0]["ingested"]
    assert ingested.endswith("Z")
    hour = datetime.fromisoformat(ingested).hour
    package = kept.json("list")[0]["package"]
    line = next(line for line in mocban_process("-C", kept.path, "show", package).out.splitlines() if "+0700" in line)
    assert f" {(hour + 7) % 24:02}:" in line
    assert "+0000" in mocban_process("-C", kept.path, "show", package, environment={"TZ": "UTC"}).out


def test_numbers_and_sizes_read_well():
    assert size_text(0) == "0 B"
    assert size_text(1023) == "1023 B"
    assert size_text(1 << 20) == "1.0 MiB"
    assert size_text(1 << 70) == "1024.0 EiB"
    assert number_text(1234567) in {"1,234,567", "1.234.567"}
    assert time_text("") == "-"


def test_a_table_lines_up_with_combining_and_wide_letters():
    decomposed = unicodedata.normalize("NFD", "Hồ sơ")
    lines = list(table([("NAME", "N"), (decomposed, "1"), ("木版木版木版", "2")], right=frozenset({1})))
    assert [line.rstrip() for line in lines] == ["NAME          N", f"{decomposed}         1", "木版木版木版  2"]


def test_what_is_harmless_is_left_as_it_is():
    assert harmless("Tờ trình số 12.pdf") == "Tờ trình số 12.pdf"
    assert harmless("a\nb\u202ec") == "a\\nb\\u202ec"
    assert harmless(b"\xff") == "\\udcff"
