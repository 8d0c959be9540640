"""Sound becomes FLAC and moving pictures FFV1: every sample, frame and its time are compared."""

import pytest
from pathways_support import converted, failed_measures, film, needs_all_of, of_tool, pathway, sample, tool
from sizes import sampled


@pytest.mark.parametrize("identity", of_tool("flac"))
def test_sound_becomes_flac_and_the_way_back_is_the_same_file(identity, tmp_path):
    needs_all_of(identity)
    done = converted(identity, sample(identity), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    assert {measure.name for measure in done.measures} == set(pathway(identity).checks)


ENCODE = """
back = "--decode" in args
if back:
    sys.exit(real(*args))
source, output = args[-1], args[args.index("-o") + 1]
def spoiled(*words):
    real("-v", "error", "-nostdin", "-i", source, *words, "spoiled.wav", program=shutil.which("ffmpeg"))
    real("--silent", "-o", output, "spoiled.wav")
"""


@sampled(2)
@pytest.mark.parametrize(
    ("change", "caught"),
    [
        ('spoiled("-ar", "22050")', {"stream", "samples", "round-trip"}),
        ('spoiled("-ac", "1")', {"stream", "samples", "round-trip"}),
        ('spoiled("-af", "atrim=end_sample=1999")', {"samples", "round-trip"}),
        ('spoiled("-af", "volume=0.999")', {"samples", "round-trip"}),
        ('spoiled("-af", "asetrate=48000")', {"stream", "round-trip"}),
        ('real("--silent", "-o", output, source)', {"round-trip"}),
    ],
    ids=["resampled", "one channel", "a sample less", "softer", "faster", "chunks dropped"],
)
def test_sound_that_differs_is_caught(change, caught, tmp_path):
    needs_all_of("wav-flac")
    tools = tool(tmp_path, "flac", ENCODE + change)
    done = converted("wav-flac", sample("wav-flac"), tmp_path, tools)
    assert done.failure in ("measure-failed", "unmeasured")
    if done.failure == "measure-failed":
        assert failed_measures(done) == caught


@pytest.mark.parametrize(
    ("identity", "kind"), [("video-ffv1-flac", "avi"), ("video-ffv1-flac", "mov"), ("video-ffv1-sound", "mp4")]
)
def test_moving_pictures_keep_every_frame_and_sample(identity, kind, tmp_path):
    needs_all_of(identity)
    done = converted(identity, film(kind), tmp_path)
    assert (done.failure, failed_measures(done)) == ("", set())
    assert {measure.name for measure in done.measures} == set(pathway(identity).checks)


def test_sound_with_loss_is_not_said_to_fit_into_flac(tmp_path):
    needs_all_of("video-ffv1-flac")
    assert failed_measures(converted("video-ffv1-flac", film("mp4"), tmp_path)) == {"samples"}


FILM = """
if not args[-1].endswith(".mkv"):
    os.execv(shutil.which("ffmpeg", path="/usr/local/bin:/usr/bin:/bin"), ["ffmpeg", *args])
def spoiled(*words):
    real(*args[:-1], *words, args[-1])
"""


@sampled(3)
@pytest.mark.parametrize(
    ("change", "caught"),
    [
        ('spoiled("-frames:v", "14")', {"frames", "times"}),
        ('spoiled("-vf", "crop=63:48:1:0,pad=64:48")', {"frames", "times"}),
        ('spoiled("-vf", "select=not(eq(n\\\\,7))")', {"frames", "times"}),
        ('spoiled("-vf", "scale=32:24")', {"picture", "frames", "times"}),
        ('spoiled("-vf", "setpts=2*PTS")', {"times"}),
        ('spoiled("-ar", "22050")', {"samples"}),
        ('spoiled("-an")', {"streams"}),
        ('spoiled("-c:v", "mpeg4", "-q:v", "2")', {"frames", "times"}),
        ('spoiled("-vf", "setsar=2")', {"picture"}),
    ],
    ids=["a frame less", "shifted", "a frame inside", "smaller", "slower", "resampled", "silent", "with loss", "wider"],
)
def test_moving_pictures_that_differ_are_caught(change, caught, tmp_path):
    needs_all_of("video-ffv1-flac")
    tools = tool(tmp_path, "ffmpeg", FILM + change)
    done = converted("video-ffv1-flac", film("avi"), tmp_path, tools)
    assert (done.failure, failed_measures(done) >= caught) == ("measure-failed", True)
    assert not done.outputs
