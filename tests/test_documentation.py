"""Whatever a person or a script can meet is explained: commands, options, statuses, codes, configuration keys."""

import ast
import dataclasses
import importlib
import re
import tomllib
from pathlib import Path

import click
import pytest

from audits.findings import MEANING, Code, Severity
from audits.findings import SEVERITY as SEVERITIES
from commands.entries import ENTRIES
from commands.root import root
from commands.statuses import Status
from preservation.configuration import SECTIONS, TEMPLATE, Configuration
from preservation.submission.errors import SubmissionRefusedError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMON_OPTIONS = {"--json", "--help", "-h"}


def page(name):
    return (DOCS / name).read_text()


def command(name):
    return root.get_command(click.Context(root), name)


def named():
    return [name for name, entry in ENTRIES.items() if entry.module]


def section(text, heading):
    """Return what stands below the heading, to the next one of the same or a higher level."""
    level = heading.split()[0]
    _, found, rest = text.partition(f"\n{heading}")
    assert found, heading
    return re.split(rf"\n#{{2,{len(level)}}} ", rest)[0]


@pytest.mark.parametrize("name", named())
def test_every_command_and_option_is_documented(name):
    entry = section(page("commands.md"), f"### `mocban {name}")
    options = {
        option
        for parameter in command(name).params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    said = {option.replace("/", "").strip() for option in re.findall(r"-{1,2}[a-z-]+", entry)}
    said |= {f"--{name}" for name in re.findall(r"--no-([a-z]+)", entry)}
    assert set() == options - COMMON_OPTIONS - said


@pytest.mark.parametrize("name", named())
def test_every_command_has_help_with_examples(name):
    found = command(name)
    assert found.help
    assert found.examples
    for parameter in found.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
    for example in found.examples:
        assert f"mocban {name.split()[0]}" in example or f" {name}" in example, example


def test_no_command_is_documented_that_does_not_exist():
    headings = re.findall(r"^### `mocban ([a-z ]+[a-z])", page("commands.md"), re.MULTILINE)
    assert sorted(named()) == sorted(headings)


def test_every_exit_status_is_documented():
    table = section(page("commands.md"), "## Exit statuses")
    assert [str(int(status)) for status in Status] == re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
    for status in Status:
        assert re.search(rf"\b{int(status)}\b", root.help), status


def test_every_finding_is_explained_in_both_languages():
    text = page("findings.md")
    for code in Code:
        entry = section(text, f"### {code}\n")
        assert entry.lstrip().startswith(f"{SEVERITIES.get(code, Severity.ERROR).capitalize()}. "), code
        assert "*Evidence*" in entry, code
        assert "*To do*" in entry, code
        assert "*Tiếng Việt.*" in entry, code
        assert code in MEANING
    assert [str(code) for code in Code] == re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE)


def test_every_code_of_the_doctor_is_documented():
    found = set()
    for node in ast.walk(ast.parse((ROOT / "audits" / "doctor.py").read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Symptom":
            found.add(ast.literal_eval(node.args[0]))
    assert len(found) >= 10
    listed = set(re.findall(r"`([a-z-]+)`", section(page("findings.md"), "## Doctor")))
    assert set() == found - listed


def test_every_contradiction_of_a_ledger_is_documented():
    found = set()
    for path in (ROOT / "preservation" / "ledger").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LedgerProblem":
                found.add(ast.literal_eval(node.args[0]))
    listed = set(re.findall(r"`([a-z]+_[a-z]+)`", section(page("findings.md"), "## Contradictions of the ledger")))
    assert found == listed


def test_every_reason_for_refusing_a_submission_is_documented():
    importlib.import_module("preservation.ingest")  # with whatever can refuse
    kinds = [SubmissionRefusedError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    listed = re.findall(r"`([a-z-]+)`", section(page("findings.md"), "## Refusals"))
    assert {kind.code for kind in kinds} <= set(listed)


def defaults(kind):
    """Return the defaults of a table, as TOML has them."""
    found = {one.name: one.default for one in dataclasses.fields(kind) if not one.metadata.get("each")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def test_every_key_of_the_configuration_is_documented_with_its_default():
    text = page("configuration.md")
    top = re.split(r"\n## ", text)[0]
    for one in dataclasses.fields(Configuration):
        assert one.name in SECTIONS or f"| `{one.name}` |" in top, one.name
    for name, kind in SECTIONS.items():
        entry = section(text, f"## `[{name}]`").split("\n### ")[0]
        rows = dict(re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", entry, re.MULTILINE))
        assert defaults(kind) == tomllib.loads("\n".join(f"{key} = {value}" for key, value in rows.items()))


def test_every_key_of_the_tables_that_have_names_is_documented():
    text = page("configuration.md")
    for name, kind in SECTIONS.items():
        for one in dataclasses.fields(kind):
            if each := one.metadata.get("each"):
                entry = section(text, f"### `[{name}.{one.name}.")
                listed = re.findall(r"^\| `([a-z_]+)` \|", entry, re.MULTILINE)
                assert [key.name for key in dataclasses.fields(each)] == listed


def test_a_new_configuration_says_every_key_with_its_default():
    values = tomllib.loads(TEMPLATE.format(repository="r", origin="o"))
    for name, kind in SECTIONS.items():
        assert defaults(kind) == values[name]


def test_every_module_has_its_line_in_the_architecture():
    text = page("architecture.md")
    missing = []
    for room in ("audits", "commands", "preservation", "storage_backends"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py" and "__pycache__" not in name and "/locale/" not in name:
                missing += [name] if f"`{path.stem}`" not in text and f"`{path.stem}.py`" not in text else []
    assert [] == missing


def test_every_link_in_the_documents_leads_somewhere():
    wrong = [
        (document.name, target)
        for document in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert [] == wrong


def test_every_decision_says_context_decision_and_consequences():
    numbers = []
    for path in sorted((DOCS / "decisions").glob("*.md")):
        text = path.read_text()
        numbers.append(int(path.name[:4]))
        for word in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert word in text, (path.name, word)
        assert len(text.splitlines()) <= 30, path.name
    assert list(range(1, len(numbers) + 1)) == numbers
