"""In which order a tape is read: by what the drive recommends, by its wraps, or by block; answers are scripted.

No virtual library offers either. They refuse, and must be left as they were; a stand-in says what drives are said to.
"""

import itertools
import random

import pytest

from storage_backends.backend import Reach
from storage_backends.tape import scsi, winding
from storage_backends.tape.drive import RECORD, MediumChangedError, TapeError, UnsupportedError
from storage_backends.tape.image import ImageDrive
from storage_backends.tape.scsi import Answer, Key, Sense
from storage_backends.tape.scsi_drive import ScsiDrive

REFUSED = Answer(scsi.CHECK_CONDITION, Sense(Key.ILLEGAL_REQUEST, (0x20, 0)))
WANTED = [(500, RECORD), (7, 3 * RECORD), (900, 10), (8, 5), (250, RECORD + 1)]
BY_BLOCK = [1, 3, 4, 0, 2]


class Unit:
    """A transport to a drive that orders up to ``most`` segments (0: none) by ``sorting``, and has ``wraps``."""

    name = "drive"

    def __init__(self, most=0, sorting=None, wraps=None):
        self.most, self.sorting, self.wraps = most, sorting, wraps
        self.asked, self.lists, self.answers = [], [], []

    def connect(self):
        pass

    def close(self):
        pass

    def command(self, cdb, *, out=b"", expected=0, seconds=60):
        self.asked.append(bytes(cdb))
        if self.answers and cdb[0] in {0xA3, 0xA4}:
            return self.answers.pop(0)
        size = int.from_bytes(cdb[6:10], "big")
        data = None if cdb[0] in {0xA3, 0xA4} else bytes(expected)
        if cdb[:2] == b"\xa3\x9d" and self.most:
            assert 4 == size == expected
            data = self.most.to_bytes(2, "big") + b"\0\x20"
        if cdb[:2] == b"\xa4\x1d" and self.most:
            assert (size, cdb[2]) == (len(out), 2)
            self.lists.append(bytes(out))
            data = b""
        if cdb[:2] == b"\xa3\x1d" and self.most:
            data = self.sorting(self.lists[-1])[:expected]
        if cdb[:4] == b"\xa3\x1f\x45\x02" and self.wraps is not None:
            data = self.wraps[:expected]
        return REFUSED if data is None else Answer(scsi.GOOD, data=data)


def drive_of(unit):
    drive = ScsiDrive(unit, ejects=True, reach=Reach.MEDIUM)
    drive.check_ready()
    unit.asked.clear()
    return drive


def segments(listed):
    """Return (name, begin, end) of each segment in a list, which must be whole."""
    assert bytes(4) == listed[:4]
    assert len(listed) == 8 + int.from_bytes(listed[4:8], "big")
    found = []
    for at in range(8, len(listed), 32):
        one = listed[at : at + 32]
        assert b"\0\x1e\0\0\0" == one[:5]
        assert 0 == one[15], "the first partition"
        found.append((one[5:15], int.from_bytes(one[16:24], "big"), int.from_bytes(one[24:32], "big")))
    return found


def answered(names, *, more=b""):
    body = b"".join((30 + len(more)).to_bytes(2, "big") + bytes(3) + name + bytes(17) + more for name in names)
    return b"\x02\0\0\0" + len(body).to_bytes(4, "big") + body


def backwards(listed):
    return answered([name for name, _, _ in reversed(segments(listed))])


def wraps_answer(*ends, partition=0, first=0):
    body = b"".join(
        (first + number).to_bytes(2, "big") + partition.to_bytes(2, "big") + bytes(2) + end.to_bytes(6, "big")
        for number, end in enumerate(ends)
    )
    return (2 + len(body)).to_bytes(2, "big") + bytes(2) + body


def test_what_the_drive_recommends_is_the_order():
    unit = Unit(2730, backwards)

    assert BY_BLOCK[::-1] == winding.in_order(drive_of(unit), WANTED)
    assert [b"\xa3\x9d", b"\xa4\x1d", b"\xa3\x1d"] == [cdb[:2] for cdb in unit.asked]
    assert {12} == {len(cdb) for cdb in unit.asked}
    (listed,) = unit.lists
    assert [(7, 9), (8, 9), (250, 251), (500, 501), (900, 901)] == [(begin, end) for _, begin, end in segments(listed)]


def test_no_segment_is_a_single_object_for_that_would_bind_the_order():
    unit = Unit(100, backwards)
    winding.in_order(drive_of(unit), [(3, 1), (9, RECORD), (12, 2 * RECORD)])

    assert all(begin < end for _, begin, end in segments(unit.lists[0]))


def test_an_answer_with_more_about_each_segment_is_understood():
    unit = Unit(100, lambda listed: answered([name for name, _, _ in reversed(segments(listed))], more=bytes(20)))

    assert BY_BLOCK[::-1] == winding.in_order(drive_of(unit), WANTED)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda listed: b"",
        lambda listed: answered([]),
        lambda listed: backwards(listed)[:-1],
        lambda listed: backwards(listed)[:40],
        lambda listed: answered([name for name, _, _ in segments(listed)[1:]]),
        lambda listed: answered([segments(listed)[0][0]] * len(segments(listed))),
        lambda listed: answered([b"0000000099", *[name for name, _, _ in segments(listed)[1:]]]),
        lambda listed: answered([b"          ", *[name for name, _, _ in segments(listed)[1:]]]),
        lambda listed: answered([b"-000000001", *[name for name, _, _ in segments(listed)[1:]]]),
        lambda listed: backwards(listed)[:4] + b"\xff\xff\xff\xff" + b"\0\0" * 200,
        lambda listed: random.Random(1).randbytes(400),
    ],
)
def test_an_order_that_does_not_name_each_segment_once_is_none(wrong):
    assert BY_BLOCK == winding.in_order(drive_of(Unit(100, wrong)), WANTED)


def test_more_than_the_drive_orders_is_ordered_part_by_part():
    unit = Unit(2, backwards)

    assert [3, 1, 0, 4, 2] == winding.in_order(drive_of(unit), WANTED)
    assert [2, 2, 1] == [len(segments(listed)) for listed in unit.lists]


@pytest.mark.parametrize("most", [0, 1])
def test_a_drive_that_orders_nothing_is_asked_for_its_wraps(most):
    unit = Unit(most, backwards, wraps_answer(99, 299, 599, 999))

    # there: 7 and 8 on the first wrap, 500 two thirds along the third; back: 250 and 900 on the second and the fourth
    assert [1, 3, 0, 2, 4] == winding.in_order(drive_of(unit), [(500, 1), (7, 1), (250, 1), (8, 1), (900, 1)])
    assert not unit.lists


def test_a_drive_that_knows_neither_reads_by_block_and_stays_where_it_is():
    unit = Unit()

    assert BY_BLOCK == winding.in_order(drive_of(unit), WANTED)
    assert {0xA3} == {cdb[0] for cdb in unit.asked}


def test_a_list_that_the_drive_refuses_after_all_leaves_the_order_by_block():
    unit = Unit(100, backwards)
    unit.answers = [Answer(scsi.GOOD, data=b"\0\x64\0\x20"), Answer(scsi.CHECK_CONDITION, REFUSED.sense)]

    assert BY_BLOCK == winding.in_order(drive_of(unit), WANTED)


@pytest.mark.parametrize("place", range(3))
def test_that_the_cartridge_was_changed_is_not_taken_for_a_drive_that_cannot(place):
    unit = Unit(100, backwards)
    changed = Answer(scsi.CHECK_CONDITION, Sense(Key.UNIT_ATTENTION, (0x28, 0)))
    unit.answers = [*[Answer(scsi.GOOD, data=b"\0\x64\0\x20"), Answer(scsi.GOOD)][:place], changed]
    drive = drive_of(unit)

    with pytest.raises(MediumChangedError):
        winding.in_order(drive, WANTED)
    with pytest.raises(TapeError):
        drive.read(RECORD)


@pytest.mark.parametrize("wanted", [[], [(5, 1)], [(5, 1), (winding.COUNTED | 3, 1)]])
def test_the_drive_is_not_asked_where_it_could_say_nothing(wanted):
    unit = Unit(100, backwards)

    assert list(range(len(wanted))) == winding.in_order(drive_of(unit), wanted)
    assert not unit.asked


def test_an_image_is_one_wrap(tmp_path):
    assert BY_BLOCK == winding.in_order(ImageDrive(str(tmp_path)), WANTED)


def test_the_end_of_the_last_wrap_is_not_where_its_data_end():
    assert (100, 200, 300) == winding.wraps_in(wraps_answer(99, 199, 203))
    assert (100, 200, 351) == winding.wraps_in(wraps_answer(99, 199, 350))
    assert (41,) == winding.wraps_in(wraps_answer(40))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\x02\0\0",
        b"\0\0",
        b"\xff\xff" + bytes(300),
        wraps_answer(99, 199)[:-1],
        wraps_answer(99, 199) + b"",
        wraps_answer(99, 199, first=1),
        wraps_answer(99, 199, partition=1),
        wraps_answer(199, 99),
        wraps_answer(99, 99),
        (15).to_bytes(2, "big") + bytes(15),
    ],
)
def test_what_cannot_be_wraps_is_nothing_or_whole(answer):
    found = winding.wraps_in(answer)

    assert found in {(), (100, 200)}
    assert (found == (100, 200)) == (answer == wraps_answer(99, 199))


def test_wraps_of_other_partitions_are_passed_over():
    both = wraps_answer(99, 199)[4:] + wraps_answer(5, 10, partition=1)[4:]

    assert (100, 200) == winding.wraps_in((2 + len(both)).to_bytes(2, "big") + bytes(2) + both)


def test_whatever_is_answered_the_order_has_everything_once():
    chance = random.Random(20)
    for _ in range(300):
        unit = Unit(chance.choice([0, 1, 2, 100]), lambda _: chance.randbytes(chance.randrange(200)))
        unit.wraps = wraps_answer(*sorted(chance.sample(range(1000), chance.randrange(1, 6))))[: chance.randrange(90)]
        found = winding.in_order(drive_of(unit), WANTED)
        assert sorted(found) == list(range(len(WANTED)))


def test_a_recommended_order_on_a_tape_with_wraps_is_not_undone_by_us():
    for order in itertools.permutations(range(3)):
        unit = Unit(9, lambda listed, order=order: answered([segments(listed)[one][0] for one in order]))
        unit.wraps = wraps_answer(10, 20)
        assert list(order) == winding.in_order(drive_of(unit), [(1, 1), (12, 1), (15, 1)])


def test_who_may_not_ask_is_told_that_the_drive_cannot(tmp_path):
    class Forbidden:
        def ask(self, cdb, *, out=b"", expected=0):
            raise UnsupportedError(place="drive", reason="Operation not permitted")

    assert BY_BLOCK == winding.in_order(Forbidden(), WANTED)
