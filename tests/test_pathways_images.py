"""Images become PNG or JPEG 2000, every sample of every pixel the same; whoever changes one is caught."""

import struct
import subprocess

import pytest
from pathways_support import (
    PICTURES,
    converted,
    failed_measures,
    needs_all_of,
    of_tool,
    pathway,
    picture_bmp,
    picture_gif,
    picture_tiff,
    sample,
    tool,
)

AGAIN = 'real(words[0], "moved.v", args[2], *words[1:])'
SAVE = 'words = ["jp2ksave", "--lossless"] if args[0] == "jp2ksave" else ["pngsave"]\n'


@pytest.mark.parametrize("identity", of_tool("vips"))
def test_an_image_keeps_every_pixel(identity, tmp_path):
    needs_all_of(identity)
    done = converted(identity, sample(identity), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    assert {measure.name for measure in done.measures} == set(pathway(identity).checks)


def test_layers_are_said_to_be_lost():
    assert [one for one in of_tool("vips") if not pathway(one).lossless] == ["psd-png", "psd-jp2"]


@pytest.mark.parametrize(
    ("identity", "content"), [("tiff-png", picture_tiff(2)), ("tiff-jp2", picture_tiff(3)), ("gif-png", picture_gif(2))]
)
def test_more_than_one_page_is_refused_by_its_count(identity, content, tmp_path):
    needs_all_of(identity)
    done = converted(identity, content, tmp_path)
    assert done.failure == "measure-failed"
    assert "pages" in failed_measures(done)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        ('real("wrap", args[1], "moved.v", "--x", "1"); ' + AGAIN, "pixels"),
        ('real("linear", args[1], "l.v", "1", "1"); real("cast", "l.v", "moved.v", "uchar"); ' + AGAIN, "pixels"),
        (
            'real("crop", args[1], "moved.v", "0", "0", "23", "16"); ' + AGAIN,
            "size",
        ),
        ('real("resize", args[1], "moved.v", "0.5"); ' + AGAIN, "size"),
        ('real("flip", args[1], "moved.v", "vertical"); ' + AGAIN, "pixels"),
    ],
    ids=["shifted", "lighter", "a column less", "smaller", "upside down"],
)
@pytest.mark.parametrize("identity", ["tiff-png", "bmp-jp2"])
def test_an_image_that_differs_is_caught(identity, change, caught, tmp_path):
    needs_all_of(identity)
    tools = tool(tmp_path, "vips", SAVE + change)
    done = converted(identity, sample(identity), tmp_path, tools)
    assert (done.failure, caught in failed_measures(done)) == ("measure-failed", True)


def test_one_sample_of_one_pixel_is_enough(tmp_path):
    """The tool is given another picture, which differs by one step of one colour in one place."""
    needs_all_of("bmp-png")
    other = bytearray(picture_bmp())
    other[54 + 3 * 30] ^= 1
    tools = tool(
        tmp_path, "vips", 'real(args[0], os.path.join(here, "other.bmp"), *args[2:])', **{"other.bmp": bytes(other)}
    )
    done = converted("bmp-png", picture_bmp(), tmp_path, tools)
    assert failed_measures(done) == {"pixels"}
    (pixels,) = [one for one in done.measures if one.name == "pixels"]
    assert pixels.output.endswith(" 1 differ")


def test_jpeg_2000_with_loss_is_caught(tmp_path):
    needs_all_of("tiff-jp2")
    tools = tool(tmp_path, "vips", 'real("jp2ksave", args[1], args[2], "--Q", "30")')
    assert failed_measures(converted("tiff-jp2", picture_tiff(), tmp_path, tools)) == {"pixels"}


def test_a_colour_profile_that_is_dropped_is_caught(tmp_path):
    needs_all_of("tiff-png")
    with_profile = tmp_path / "with.tif"
    (tmp_path / "plain.tif").write_bytes(picture_tiff())
    profile = "/usr/share/color/icc/ghostscript/srgb.icc"
    subprocess.run(["vips", "tiffsave", tmp_path / "plain.tif", with_profile, "--profile", profile], check=True)
    assert converted("tiff-png", with_profile.read_bytes(), tmp_path).accepted
    tools = tool(tmp_path, "vips", "real(*args, '--strip')")
    assert failed_measures(converted("tiff-png", with_profile.read_bytes(), tmp_path, tools)) == {"profile"}
    assert failed_measures(converted("tiff-jp2", with_profile.read_bytes(), tmp_path)) == {"profile"}


def test_samples_that_do_not_fit_are_refused(tmp_path):
    needs_all_of("tiff-png")
    (tmp_path / "plain.tif").write_bytes(picture_tiff())
    subprocess.run(["vips", "cast", tmp_path / "plain.tif", tmp_path / "deep.tif", "float"], check=True)
    done = converted("tiff-png", (tmp_path / "deep.tif").read_bytes(), tmp_path)
    assert not done.accepted


@pytest.mark.parametrize("name", PICTURES)
def test_a_damaged_image_is_no_success(name, tmp_path):
    needs_all_of(f"{name}-png")
    whole = sample(f"{name}-png")
    for content in (whole[: len(whole) // 2], whole[:8] + struct.pack("<Q", 2**63), b""):
        assert not converted(f"{name}-png", content, tmp_path).accepted
