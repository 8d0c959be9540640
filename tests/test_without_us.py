"""Fifty years on: everything comes back with tar, b3sum and a shell, and the repository with one store alone."""

import os
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from repository_support import (
    TITLE,
    audit,
    catalog_rows,
    contents,
    flip,
    made,
    manifest_of,
    pack_rows,
    submit,
    submit_files,
    tree,
)
from submission_support import tar_bytes

from preservation import rebuilding
from preservation.catalog import rows
from preservation.ledger.checking import check_ledger
from preservation.manifest import FileLine
from preservation.packs import layout

UTF8 = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

HOSTILE = {
    b"manifest.jsonl": b"a payload file, not ours",
    b"content/00/name": b"looks like an object",
    b'quotes " and \' and "path":"x"': b"1",
    b"back\\slash\\": b"2",
    b'\\" \\\\n \\u0041': b"3",
    b" leading and trailing ": b"4",
    b"-rf": b"5",
    b"--checkpoint-action=exec=sh": b"6",
    b"$(touch stolen) `touch stolen` ${HOME} %s %d": b"7",
    b"star * and ? and [a-z]": b"8",
    b"semi;colon|pipe&and": b"9",
    b"caf\xe9 latin-1 \xff": b"10",
    b"\xff\xfe/\xe9": b"11",
    b'"mocban":"manifest"': b"12",
    b'"folder":true': b"13",
    b"a:b": b"14",
    b"~root": b"15",
    b"n" * 255: b"16",
    b"/".join([b"d" * 200] * 15) + b"/deep": b"17",
    b"#!": b"18",
    b"v1/files/manifest.jsonl": b"19",
    b"path_b64": b"20",
    "nhiều   khoảng trắng".encode(): b"21",
}


def needs(program):
    """Skip by name where a tool is not installed; in CI it is."""
    if shutil.which(program) is None:
        assert os.environ.get("CI") != "true", f"CI must have {program}"
        pytest.skip(f"{program} is not installed")


def dossier(seed):
    """Files of a dossier; some contents return in other dossiers."""
    letters = random.Random(seed)
    common = random.Random(0)
    shared = [common.randbytes(9_000) for _ in range(8)]
    files = {f"dùng chung/tài liệu {number}.bin": shared[(number + seed) % 8] for number in range(8)}
    files |= {
        f"Biên bản họp {number}/Quyết định số {number}, Đất đai.pdf": letters.randbytes(700) for number in range(20)
    }
    files |= {f"scan/{number:03}.tif": letters.randbytes(20_000) for number in range(6)}
    files["trống.txt"] = b""
    files["lặp lại 1"] = files["lặp lại 2"] = b"the same"
    files["thư mục trống/"] = None
    files[unicodedata.normalize("NFD", "Nguyễn Thị Ánh.txt")] = f"tổ hợp {seed}".encode()
    return files


def shuffled_names(files, seed):
    """Write in an order of our own; what comes of it must not depend on it."""
    names = list(files)
    random.Random(seed).shuffle(names)
    return {name: files[name] for name in names}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A repository of three dossiers and what is in it: packages by id."""
    place = made(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TARGET_SIZE", 100_000)
        packages = {}
        for seed in (1, 2, 3):
            files = dossier(seed) | (HOSTILE if seed == 3 else {})
            receipt = submit_files(place, shuffled_names(files, seed), f"dossier {seed}")
            packages[receipt.package] = {os.fsencode(name): data for name, data in files.items()}
    rows = pack_rows(place)
    assert len(rows) >= 6
    assert sum(row.objects for row in rows) < sum(len(files) for files in packages.values()), "content is shared"
    return place, packages


def packs_of(folder):
    return sorted(Path(folder).rglob("*.tar"))


def files_under(folder):
    """Every file and empty folder below ``folder`` as a person sees it: links followed."""
    found = {}
    root = os.fsencode(folder)
    for base, folders, names in os.walk(root):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
        if not folders and not names:
            found[os.path.relpath(base, root) + b"/"] = None
    return found


def check_restored(folder, packages):
    assert {path.name for path in (folder / "packages").iterdir()} == set(packages)
    for package, files in packages.items():
        found = files_under(folder / "packages" / package / "v1" / "files")
        assert found == files


@pytest.mark.parametrize("environment", [UTF8, PLAIN], ids=["utf-8", "plain"])
@pytest.mark.parametrize("order", ["sorted", "reversed", "random 1", "random 2"])
def test_gnu_tar_gives_every_file_back_in_any_order(store, tmp_path, order, environment):
    needs("tar")
    place, packages = store
    packs = packs_of(place.store("a") / "packs")
    assert len(packs) >= 3
    if order == "reversed":
        packs.reverse()
    elif order != "sorted":
        random.Random(order).shuffle(packs)
    for pack in packs:
        subprocess.run(["tar", "xf", str(pack), "-C", str(tmp_path)], check=True, env=environment)
    check_restored(tmp_path, packages)


def test_the_readme_on_the_store_says_how_and_its_commands_work(store, tmp_path):
    needs("tar")
    place, packages = store
    text = (place.store("b") / "README.txt").read_text()
    command = next(line.partition("Extract:")[2].strip() for line in text.splitlines() if "2. Extract:" in line)
    copy = tmp_path / "store"
    shutil.copytree(place.store("b"), copy)
    subprocess.run(["sh", "-euc", command], cwd=copy, env=UTF8, check=True)
    check_restored(copy / "restored", packages)


@pytest.mark.parametrize("environment", [UTF8, PLAIN], ids=["utf-8", "plain"])
def test_the_restore_script_gives_every_file_back_without_links(store, tmp_path, environment):
    for program in ("tar", "b3sum", "base64"):
        needs(program)
    place, packages = store
    script = place.store("a") / "restore.sh"
    done = subprocess.run(
        ["sh", str(script), str(place.store("a")), str(tmp_path / "nơi đến")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    check_restored(tmp_path / "nơi đến", packages)
    assert not [path for path in (tmp_path / "nơi đến").rglob("*") if path.is_symlink()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nơi đến"], "no name was executed"
    assert sorted(path.name for path in (tmp_path / "nơi đến").iterdir()) == ["packages"]


def test_the_restore_script_is_short_enough_to_read(store):
    place, _ = store
    assert len((place.store("a") / "restore.sh").read_text().splitlines()) <= 72


def test_the_restore_script_names_a_damaged_pack_and_still_takes_what_is_good(store, tmp_path):
    needs("b3sum")
    place, packages = store
    copy = tmp_path / "store"
    shutil.copytree(place.store("a"), copy)
    victim = next(row for row in pack_rows(place) if row.label.endswith("-00001"))
    path = next((copy / "packs").rglob(f"{victim.pack}.tar"))
    flip(path, 30_000)
    done = subprocess.run(
        ["sh", str(copy / "restore.sh"), str(copy), str(tmp_path / "out")], env=UTF8, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert path.name.encode() in done.stderr
    found = {package: files_under(tmp_path / "out" / "packages" / package / "v1" / "files") for package in packages}
    assert sum(found[package] != files for package, files in packages.items()) <= 3
    assert sum(found[p].get(name) == data for p, files in packages.items() for name, data in files.items()) >= (
        sum(len(files) for files in packages.values()) - 9
    )


def test_the_restore_script_goes_on_when_a_pack_is_missing_and_names_the_files(store, tmp_path):
    needs("b3sum")
    place, packages = store
    copy = tmp_path / "store"
    shutil.copytree(place.store("a"), copy)
    without_manifest = next(row for row in pack_rows(place) if row.label.endswith("-00001"))
    next((copy / "packs").rglob(f"{without_manifest.pack}.tar")).unlink()
    done = subprocess.run(
        ["sh", str(copy / "restore.sh"), str(copy), str(tmp_path / "out")], env=UTF8, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"missing: " in done.stderr
    restored = sum(len(files_under(folder)) for folder in (tmp_path / "out" / "packages").glob("*/v1/files"))
    assert restored > sum(len(files) for files in packages.values()) // 2


def test_the_restore_script_goes_on_past_a_name_that_no_disk_takes(tmp_path):
    needs("b3sum")
    place = made(tmp_path / "p", store_names=("a", "b"))
    deep = b"/".join([b"d" * 240] * 16)
    source = tmp_path / "in.tar"
    write_tar(source, {deep + b"/deepest": b"x", b"z after": b"y", b"a before": b"w"})
    submit(place, source)
    done = subprocess.run(
        ["sh", str(place.store("a") / "restore.sh"), str(place.store("a")), str(tmp_path / ("o" * 200))],
        env=UTF8,
        capture_output=True,
        check=False,
    )
    files = next((tmp_path / ("o" * 200)).glob("packages/*/v1/files"))
    assert (files / "a before").read_bytes() + (files / "z after").read_bytes() == b"wy"
    assert (done.returncode, b"missing: ddd" in done.stderr) == (1, True)


def test_the_restore_script_goes_on_past_a_folder_that_cannot_be_made(store, tmp_path):
    needs("b3sum")
    place, packages = store
    package = next(iter(packages))
    files = tmp_path / "out" / "packages" / package / "v1" / "files"
    files.mkdir(parents=True)
    (files / "scan").write_text("a file in the place of a folder")
    done = subprocess.run(
        ["sh", str(place.store("a") / "restore.sh"), str(place.store("a")), str(tmp_path / "out")],
        env=UTF8,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count(b"missing: scan/")) == (1, 6)
    (files / "scan").unlink()
    expected = {name: data for name, data in packages[package].items() if not name.startswith(b"scan/")}
    assert files_under(files) == expected


def write_tar(path, files):
    path.write_bytes(tar_bytes([(os.fsdecode(name), data) for name, data in files.items()]))


def test_b3sum_of_each_pack_is_its_name(store):
    needs("b3sum")
    place, _ = store
    for name in ("a", "b"):
        packs = packs_of(place.store(name) / "packs")
        found = subprocess.run(["b3sum", "--no-names", *packs], check=True, capture_output=True, text=True).stdout
        assert [f"{digest}.tar" for digest in found.split()] == [path.name for path in packs]


def test_b3sum_and_sha256sum_of_each_file_are_what_the_manifest_says(store, tmp_path):
    needs("b3sum")
    place, packages = store
    for pack in packs_of(place.store("a") / "packs"):
        subprocess.run(["tar", "xf", str(pack), "-C", str(tmp_path)], check=True, env=UTF8)
    for package in packages:
        header, *lines = manifest_of(place, package)
        assert header["title"] == TITLE
        files = [line for line in lines if isinstance(line, FileLine)]
        names = [
            os.path.join(os.fsencode(tmp_path / "packages" / package / "v1" / "files"), line.path) for line in files
        ]
        blake3 = subprocess.run([b"b3sum", b"--no-names", *names], check=True, capture_output=True).stdout
        sha256 = subprocess.run([b"sha256sum", b"-z", *names], check=True, capture_output=True).stdout
        assert blake3.decode().split() == [line.blake3 for line in files]
        assert [line[:64].decode() for line in sha256.split(b"\0")[:-1]] == [line.sha256 for line in files]


def test_a_repository_comes_back_from_one_store_when_the_server_is_gone(store, tmp_path):
    place, packages = store
    audit(place)
    before = catalog_rows(place)
    copies = tmp_path / "copies"
    shutil.copytree(place.folder, copies, symlinks=True)
    place = type(place)(place.folder, place.clock, place.random)
    gone = place.folder / "repo"
    gone.rename(place.folder / "gone")
    try:
        rebuilt = rebuilding.rebuild_from(place.url("b"), place.path, place.world)
        assert (rebuilt.packages, rebuilt.packs, rebuilt.missing_indexes) == (3, len(packs_of(place.store("b"))), 0)
        assert rebuilt.signing
        assert catalog_rows(place) == before
        assert list(check_ledger(f"{place.path}/ledger")) == []
        for package, files in packages.items():
            assert contents(place, package) == files
        report = audit(place)
        assert report.exit_status == 0
    finally:
        shutil.rmtree(gone, ignore_errors=True)
        (place.folder / "gone").rename(gone)
        for name in ("a", "b"):
            shutil.rmtree(place.store(name))
            shutil.copytree(copies / name, place.store(name))


def test_without_the_recovery_kit_everything_can_still_be_read(store, tmp_path):
    place, packages = store
    elsewhere = type(place)(tmp_path, place.clock, place.random)
    rebuilt = rebuilding.rebuild_from(place.url("a"), elsewhere.path, place.world, kit=str(tmp_path / "none"))
    assert not rebuilt.signing
    repository = elsewhere.open(read_only=True)
    assert list(check_ledger(f"{elsewhere.path}/ledger")) == []
    with repository.reading() as view:
        assert {row.package for row in rows.every(view, rows.PackageRow)} == set(packages)


def test_rebuilding_refuses_a_place_that_is_not_empty_and_a_store_that_is_none(store, tmp_path):
    place, _ = store
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("here")
    with pytest.raises(Exception, match="not empty"):
        rebuilding.rebuild_from(place.url("a"), str(tmp_path / "full"), place.world)
    with pytest.raises(rebuilding.NothingToRebuildError):
        rebuilding.rebuild_from(f"file://{tmp_path / 'full'}", str(tmp_path / "new"), place.world)
    assert tree(tmp_path) == {"full/something": b"here"}
