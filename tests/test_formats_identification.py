"""The nouns of format identification: what is asked, what is answered, what the manifest keeps of it."""

import json
from concurrent.futures import Future

import pytest

from preservation.formats.identification import (
    ENDS,
    WHOLE_LIMIT,
    BadIdentificationError,
    FormatMatch,
    Identification,
    NoIdentification,
    Puid,
    Sample,
    extension_of,
    identify_many,
)
from storage_backends.errors import MocbanError

KNOWN = Identification(
    "identified",
    (FormatMatch(Puid("fmt/18"), "signature", "fido 1.6.1", "pronom v109, container 20200121"),),
    ("the extension is not usual for this format",),
)


def test_the_manifest_line_keeps_the_whole_answer():
    line = json.loads(json.dumps(KNOWN.to_json()))
    assert line == {
        "formats": [
            {
                "basis": "signature",
                "puid": "fmt/18",
                "signatures": "pronom v109, container 20200121",
                "tool": "fido 1.6.1",
            }
        ],
        "identification": "identified",
        "warnings": ["the extension is not usual for this format"],
    }
    assert Identification.from_json({"path": "a.pdf", **line}) == KNOWN


@pytest.mark.parametrize("status", ["unidentified", "failed", "timeout", "off"])
def test_an_answer_without_formats_survives_the_manifest(status):
    answer = Identification(status, warnings=("because",))
    assert Identification.from_json(answer.to_json()) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"identification": "perhaps"},
        {"identification": None},
        {"identification": []},
        {"identification": "failed"},
        {"formats": None},
        {"formats": []},
        {"formats": {}},
        {"formats": ["fmt/18"]},
        {"formats": [{"puid": "fmt/18"}]},
        {"formats": [{"puid": "fmt/18", "basis": [], "tool": "t", "signatures": "s"}]},
        {"formats": [{"puid": "../18", "basis": "signature", "tool": "t", "signatures": "s"}]},
        {"formats": [{"puid": 18, "basis": "signature", "tool": "t", "signatures": "s"}]},
        {"formats": [{"puid": "fmt/18", "basis": "signature", "tool": None, "signatures": "s"}]},
        {"formats": [{"puid": "fmt/18", "basis": "signature", "tool": "t" * 501, "signatures": "s"}]},
        {"warnings": "text"},
        {"warnings": [None]},
        {"warnings": ["w"] * 1001},
    ],
)
def test_a_record_that_is_not_one_is_refused_with_the_reason(change):
    with pytest.raises(BadIdentificationError, match=r"Not a record of a format identification: .") as caught:
        Identification.from_json({**KNOWN.to_json(), **change})
    assert isinstance(caught.value, MocbanError)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a/b/Công văn.PDF", "pdf"),
        ("archive.tar.GZ", "gz"),
        (".bashrc", ""),
        ("folder.d/file", ""),
        ("", ""),
        ("bad\udcff.\udcff", "\udcff"),
        ("trailing.", ""),
    ],
)
def test_the_extension_is_read_from_the_name_as_fido_reads_it(name, extension):
    assert extension_of(name) == extension


def test_a_sample_of_a_small_file_is_the_file():
    sample = Sample.of_content("a.bin", b"x" * ENDS)
    assert sample.pieces() == (b"x" * ENDS,)
    assert (sample.head, sample.tail, sample.whole) == (b"x" * ENDS, b"x" * ENDS, None)


def test_a_sample_of_a_large_file_keeps_only_its_two_ends():
    content = b"a" * ENDS + b"middle" + b"z" * ENDS
    sample = Sample.of_content("a.bin", content)
    assert (sample.head, sample.tail) == (b"a" * ENDS, b"z" * ENDS)
    assert sample.pieces() == (sample.head, sample.tail)
    assert sample.size == len(content)


def test_a_sample_of_a_container_keeps_it_whole_up_to_a_limit():
    container = b"PK\x03\x04".ljust(WHOLE_LIMIT, b"\0")
    assert Sample.of_content("a.zip", container).whole == container
    assert Sample.of_content("a.zip", container + b"\0").whole is None
    assert Sample.of_content("a.txt", b"no container".ljust(WHOLE_LIMIT)).whole is None


@pytest.mark.parametrize("size", [0, 1, ENDS - 1, ENDS, ENDS + 1, 2 * ENDS, 3 * ENDS])
@pytest.mark.parametrize("magic", [b"", b"PK\x03\x04"])
def test_a_sample_is_the_same_after_its_journey_in_pieces(size, magic):
    content = (magic + bytes(range(256)) * (size // 256 + 1))[:size]
    sample = Sample.of_content("a.b", content)
    assert Sample.from_pieces(sample.extension, sample.size, sample.pieces()) == sample
    assert sample.head == content[:ENDS]
    assert sample.tail == content[-ENDS:]


def test_the_two_ends_of_a_file_must_have_the_length_that_its_size_says():
    content = bytes(3 * ENDS)
    sample = Sample.of_ends("a.b", len(content), content[:ENDS], content[-ENDS:])
    assert sample == Sample.of_content("a.b", content)
    assert Sample.of_ends("a.b", 3, b"abc", b"abc") == Sample.of_content("a.b", b"abc")
    with pytest.raises(ValueError, match="each end"):
        Sample.of_ends("a.b", 3 * ENDS, content[:ENDS], b"short")
    with pytest.raises(ValueError, match="each end"):
        Sample.of_ends("a.b", 3, b"abcd", b"abc")


def test_without_identification_every_answer_is_off():
    identifier = NoIdentification()
    answers = list(identify_many(identifier, [Sample.of_content("a.pdf", b"%PDF-1.4")] * 3))
    assert answers == [Identification("off")] * 3
    identifier.close()


class Backwards:
    """Answers only when so many questions wait, the last one first; a stranger's identifier in the tests' own words."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        self.most = 0
        self.open: list[tuple[Sample, Future[Identification]]] = []

    def submit(self, sample: Sample) -> Future[Identification]:
        future: Future[Identification] = Future()
        self.open.append((sample, future))
        self.most = max(self.most, len(self.open))
        if len(self.open) == self.wait:
            while self.open:
                asked, waiting = self.open.pop()
                waiting.set_result(Identification("failed", warnings=(asked.extension,)))
        return future

    def close(self) -> None:
        pass


def test_answers_come_in_the_order_of_the_questions_and_not_too_many_are_asked_ahead():
    identifier = Backwards(4)
    asked = [Sample.of_content(f"a.{number}", b"") for number in range(16)]
    answers = list(identify_many(identifier, iter(asked), ahead=4))
    assert [answer.warnings for answer in answers] == [(sample.extension,) for sample in asked]
    assert identifier.most <= 4
    assert list(identify_many(identifier, [])) == []
