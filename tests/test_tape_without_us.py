"""A cartridge is read with dd, tar and b3sum alone; the only drive is a function that takes the frames off an image."""

import subprocess

import pytest
from repository_support import contents, nothing, pack_rows, submit_files
from tape_support import images, tape_files
from test_tape_repository import FILES, with_tapes
from test_without_us import UTF8, needs

from preservation.packs import layout
from preservation.replication import replicate


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 300_000)
    place = with_tapes(tmp_path, pools=("t1",))
    receipt = submit_files(place, FILES)
    assert {} == replicate(place.open(), nothing).failures
    return place, receipt.package


@pytest.fixture
def tape(pool, tmp_path):
    """Each tape file of the first cartridge as a file, as ``dd if=/dev/nst0 of=N bs=256k`` would copy it."""
    place, _ = pool
    folder = tmp_path / "read by a drive"
    folder.mkdir()
    for number, data in enumerate(tape_files(images(place.folder / "t1")[0])):
        if data:
            (folder / f"{number:03d}").write_bytes(data)
    return folder


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, env=UTF8, **more).stdout


def test_the_first_file_says_in_two_languages_how_to_read_the_rest(tape):
    text = (tape / "000").read_bytes()

    assert text[:4] == b"VOL1"
    assert text[79:80] == b"4"
    assert text[:80].decode("ascii").isprintable()
    for words in ("tar -b 512 -xf /dev/nst0", "dd if=/dev/nst0 bs=256k | b3sum", "mt -f /dev/nst0", "Tiếng Việt"):
        assert words in text.decode()


def test_b3sum_of_a_tape_file_is_the_name_of_the_pack(pool, tape):
    needs("b3sum")
    place, _ = pool
    expected = {row.pack for row in pack_rows(place)}
    found = set()
    for path in sorted(tape.iterdir()):
        with subprocess.Popen(["dd", f"if={path}", "bs=256k"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dd:
            found.add(run("b3sum", "--no-names", stdin=dd.stdout).decode().strip())

    assert 5 == len(expected)
    assert expected <= found


def test_tar_gives_every_file_back_under_its_own_name(pool, tape, tmp_path):
    place, package = pool
    out = tmp_path / "restored"
    out.mkdir()
    for path in sorted(tape.iterdir())[1:]:
        run("tar", "-b", "512", "-xf", path, "-C", out)
    files = out / "packages" / package / "v1" / "files"

    assert contents(place, package) == {name.encode(): data for name, data in FILES.items()}
    for name, data in FILES.items():
        assert (files / name).is_dir() if data is None else (files / name).read_bytes() == data
    assert list((out / "ledger" / "checkpoints").iterdir())
    assert list((out / "MOCBAN-TAPE-INDEX").iterdir())
    assert (out / "restore.sh").exists()


def test_what_tar_gives_back_is_a_store_to_rebuild_from_but_for_the_packs_names(pool, tape, tmp_path):
    place, _ = pool
    out = tmp_path / "restored"
    out.mkdir()
    for path in sorted(tape.iterdir())[1:]:
        if path.read_bytes().startswith(b"MOCBAN"):
            run("tar", "-b", "512", "-xf", path, "-C", out)

    for row in pack_rows(place):
        for key in (layout.index_key(row.fonds, row.pack), layout.blocks_key(row.fonds, row.pack)):
            assert (out / key).read_bytes() == (place.store("a") / key).read_bytes()
