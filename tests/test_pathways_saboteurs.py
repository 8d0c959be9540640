"""Whatever a tool does instead of its work, nothing of it is accepted and nothing of it stays."""

from pathlib import Path

import pytest
from pathways_support import converted, film, needs_all_of, of_tool, paper_pdf, pathway, pathways, picture_tiff, tool
from sizes import sampled

from preservation.migration.pathway import available, sandbox
from preservation.migration.tools import TOOLS

PATHWAYS = [one.id for one in pathways() if one.tool]
OUTPUTS = '''
def outputs():
    """Where this tool is asked to write."""
    found = [word.partition("=")[2] or word for word in args if re.search(r"(^|=)out/\\d{6}[.]", word)]
    if "--outdir" in args:
        ending = args[args.index("--convert-to") + 1].partition(":")[0]
        sources = [word for word in args if word.startswith("in/")]
        ending = ("-a." if ending == "csv" else ".") + ending
        found = [word.replace("in/", "out/").rpartition(".")[0] + ending for word in sources]
    return found
inputs = [word for word in args if word.startswith("in/")]
if not outputs():
    os.execv(shutil.which(os.path.basename(__file__), path="/usr/local/bin:/usr/bin:/bin"), sys.argv)
'''
DEEDS = {
    "nothing": ("", {"no-output"}),
    "failure": ("sys.exit(3)", {"tool-failed"}),
    "crash": ("os.kill(os.getpid(), 11)", {"tool-failed"}),
    "empty": ("[open(one, 'wb') for one in outputs()]", {"no-output"}),
    "folder": ("[os.mkdir(one) for one in outputs()]", {"no-output"}),
    "link": ("[os.symlink('/etc/passwd', one) for one in outputs()]", {"no-output"}),
    "twin": ("[os.link(inputs[0], one) for one in outputs()]", {"no-output", "source-changed", "wrong-format"}),
    "copy": ("[shutil.copy(inputs[0], one) for one in outputs()]", {"wrong-format", "measure-failed", "unmeasured"}),
    "noise": (
        "[open(one, 'wb').write(bytes(range(256)) * 9) for one in outputs()]",
        {"wrong-format", "measure-failed", "unmeasured"},
    ),
    "changed source": ("[open(one, 'wb').write(b'x') for one in (*inputs, *outputs())]", {"source-changed"}),
    "no source": (
        "[os.remove(one) for one in inputs]; [open(one, 'wb').write(b'x') for one in outputs()]",
        {"source-changed"},
    ),
}
SOURCES = {"video": film, "pdf": paper_pdf, "tiff": picture_tiff}
ONE_OF_EACH = [of_tool(name)[0] for name in dict.fromkeys(pathway(one).tool for one in PATHWAYS)]


def source_of(identity):
    return SOURCES.get(identity.partition("-")[0], picture_tiff)()


def tried(identity, deed, tmp_path):
    """A saboteur does not look at its source, so any will do."""
    needs_all_of(identity)
    body, expected = DEEDS[deed]
    tools = tool(tmp_path, pathway(identity).tool, OUTPUTS + body)
    done = converted(identity, source_of(identity), tmp_path, tools)
    assert done.failure in expected
    assert done.output is None


@sampled(2 * len(DEEDS) + 1)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("identity", ONE_OF_EACH)
def test_a_saboteur_is_caught(identity, deed, tmp_path):
    tried(identity, deed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("identity", PATHWAYS)
def test_a_saboteur_of_any_pathway_is_caught(identity, deed, tmp_path):
    tried(identity, deed, tmp_path)


@pytest.mark.parametrize("identity", ONE_OF_EACH)
def test_a_tool_that_hangs_is_ended(identity, tmp_path):
    needs_all_of(identity)
    tools = tool(tmp_path, pathway(identity).tool, OUTPUTS + "time.sleep(60)")
    done = converted(identity, source_of(identity), tmp_path, tools, seconds=0.6)
    assert (done.failure, done.output) == ("timeout", None)


@pytest.mark.parametrize("identity", PATHWAYS)
def test_each_pathway_says_in_which_version_its_tool_is_there(identity):
    needs_all_of(identity)
    found = available(pathway(identity), sandbox())
    assert found.ready
    assert found.version[0].isdigit()


def test_a_pathway_whose_tool_is_missing_or_broken_says_so(tmp_path):
    needs_all_of("tiff-png")
    missing = available(pathway("tiff-png"), sandbox(str(tmp_path)))
    assert (missing.ready, "vips" in missing.missing, "identify" in missing.missing) == (False, True, True)
    tools = tool(tmp_path, "vips", "sys.exit(1)")
    assert available(pathway("tiff-png"), sandbox(f"{tools}:/usr/bin:/bin")).missing == ("vips",)


def test_every_pathway_and_every_package_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "pathways.md").read_text()
    listed = page.partition("## What is refused")[0]
    assert [] == [one.id for one in pathways() if f"`{one.id}`" not in listed]
    packages = {TOOLS[name].package for one in pathways() for name in (*([one.tool] if one.tool else []), *one.needs)}
    assert [] == sorted(package for package in packages if package not in page.partition("## Where tools run")[2])


def test_every_pathway_is_whole():
    identities = [one.id for one in pathways()]
    assert len(identities) == len(set(identities))
    for one in pathways():
        assert one.checks[0] == "format"
        assert one.sources
        assert one.target == one.targets[0]
        assert len(one.checks) > 2 or "words" in one.checks
