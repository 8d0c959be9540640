"""The drill: it finds out whether an audit finds out, and leaves nothing but its report."""

import io
import os
import random
from collections import Counter

import pytest
from repository_support import catalog_rows, copy_rows, flip, made, pack_file, pack_rows, submit_files, tree

from audits import drill_faults, drill_shadow
from audits.drill import NoPlaceForDrillError, drill, heal, look
from audits.drill_faults import NOT_TO_BE_HEALED, Fault, FaultKind
from audits.drill_report import Asked, record, report_bytes
from audits.drill_shadow import DrillSpaceError, NothingToDrillError, sample
from audits.findings import Code, Finding
from preservation import attachment, fonds, stores
from preservation.catalog import rows
from preservation.catalog.rows import CopyRow, PackRow
from preservation.fixity import measure
from preservation.packs import layout
from preservation.packs.layout import pack_key
from preservation.replication import replicate
from preservation.stopping import StoppedError
from preservation.stores import NoSuchStoreError
from storage_backends.backend import Replacing
from storage_backends.errors import KeyMissingError, MocbanError, StorageError


def filled(folder, count=3, **more):
    """A repository with so many packs of random bytes."""
    place = made(folder, **more)
    chance = random.Random(5)
    for number in range(count):
        submit_files(place, {f"{number}.bin": chance.randbytes(150_000 + 1000 * number)}, name=f"s{number}")
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("drilled"))


def nothing(_copies, _bytes):
    pass


def drilled(place, *, looking=look, healing=heal, **more):
    return drill(place.open(), Asked(**more), told=nothing, looking=looking, healing=healing)


def outcome(result):
    return {
        str(trial.kind): Counter(one.detected and one.named and one.healed for one in trial.injected)
        for trial in result.trials
    }


# ---- what it must show ----------------------------------------------------------------------------------------------


def test_the_audit_finds_names_and_heals_every_class_of_fault(place):
    result = drilled(place, seed=1)
    assert [str(trial.kind) for trial in result.trials] == [str(kind) for kind in FaultKind]
    assert outcome(result) == {str(kind): Counter({True: 3}) for kind in FaultKind}
    assert result.passed
    assert result.exit_status == 0
    assert not result.control
    for trial in result.trials:
        assert trial.passed
        assert trial.audit_read > 0
        for one in trial.injected:
            assert one.codes == ("copy-missing" if trial.kind is FaultKind.MISSING else "copy-damaged",)
            assert 0 <= one.found_after <= trial.audit_time + 1
            assert 0 <= one.read_before <= trial.audit_read
            healed = trial.kind not in NOT_TO_BE_HEALED
            assert (one.healed_after is not None) is healed


def test_a_drill_leaves_everything_as_it_was(place):
    before = {name: tree(place.store(name)) for name in ("a", "b")}
    catalog, size = catalog_rows(place), place.open().ledger.size
    drilled(place, seed=2, faults=(FaultKind.BIT_FLIP, FaultKind.MISSING, FaultKind.LYING_WRITE))
    assert before == {name: tree(place.store(name)) for name in ("a", "b")}
    assert catalog == catalog_rows(place)
    assert place.open().ledger.size == size
    assert [] == [name for name in os.listdir(place.open().staging) if "scratch" in name]


def test_the_same_seed_draws_the_same_faults_and_another_one_others(place):
    def faults(seed):
        kinds = (FaultKind.BIT_FLIP, FaultKind.SWAPPED)
        return [one.fault for one in drilled(place, seed=seed, packs=2, faults=kinds).injected]

    assert faults(3) == faults(3)
    assert faults(3) != faults(4)


def test_the_sample_goes_over_all_fonds_in_turn(tmp_path):
    place = filled(tmp_path, count=4)
    fonds.open_fonds(place.open(), "F2", "Phông thứ hai")
    submit_files(place, {"z": b"z" * 1000}, name="other", fonds_code="F2")
    with place.open().reading() as view:
        for seed in range(5):
            chosen = sample(view, stores.attached(view), 2, seed)
            assert len({row.fonds for row in chosen}) == 2
        assert len(sample(view, stores.attached(view), 99, 0)) == 5
        assert [] == sample(view, [], 2, 0)


def test_only_the_stores_that_are_asked_for_are_damaged(place):
    result = drilled(place, stores=("b",), packs=1, faults=(FaultKind.BIT_FLIP, FaultKind.MISSING))
    assert {one.fault.store for one in result.injected} == {"b"}
    assert result.passed
    with pytest.raises(NoSuchStoreError):
        drilled(place, stores=("nowhere",))


def test_stores_in_memory_are_drilled_in_memory(tmp_path):
    place = filled(tmp_path, count=1)
    attachment.add(place.open(), "m", f"memory:{tmp_path.name}", site="here")
    replicate(place.open(), nothing)
    result = drilled(place, stores=("m",))
    assert result.shadowed["m"] == ("memory", "memory")
    assert result.passed


# ---- auditors and repairs that are broken ----------------------------------------------------------------------------


def reading(fresh):
    """An audit of one's own that reads every copy; from the cache if it is not ``fresh``."""

    def looking(repository):
        found = []
        with repository.reading() as view, stores.all_open(stores.attached(view)) as opened:
            by_id = {store.row.store: store for store in opened}
            for copy in rows.every(view, CopyRow):
                pack, store = rows.one(view, PackRow, copy.pack), by_id[copy.store]
                try:
                    with store.backend.read(pack_key(pack.fonds, pack.pack), fresh=fresh) as reader:
                        if measure(reader).blake3 != pack.pack:
                            found.append(Finding(Code.COPY_DAMAGED, store.name, pack.pack))
                except KeyMissingError:
                    found.append(Finding(Code.COPY_MISSING, store.name, pack.pack))
        return found

    return looking


def listing(repository):
    """An audit that believes what stores say of themselves."""
    found = []
    with repository.reading() as view, stores.all_open(stores.attached(view)) as opened:
        for store in opened:
            sizes = {item.key: item.size for item in store.backend.items("packs")}
            for pack in rows.every(view, PackRow):
                size = sizes.get(pack_key(pack.fonds, pack.pack))
                if size is None:
                    found.append(Finding(Code.COPY_MISSING, store.name, pack.pack))
                elif size != pack.size:
                    found.append(Finding(Code.COPY_DAMAGED, store.name, pack.pack))
    return found


def undetected(result):
    return {one.fault.kind for one in result.injected if not one.detected}


def test_an_audit_that_sees_nothing_fails_in_every_class(place):
    result = drilled(place, looking=lambda _repository: [])
    assert undetected(result) == set(FaultKind)
    assert not result.passed
    assert result.exit_status == 3
    assert not any(one.healed for one in result.injected)


def test_an_audit_that_reads_from_the_cache_misses_what_only_the_medium_has(place):
    fine, stale = drilled(place, looking=reading(fresh=True)), drilled(place, looking=reading(fresh=False))
    assert undetected(fine) == set()
    assert undetected(stale) == {FaultKind.STALE_CACHE}
    assert not stale.passed


def test_an_audit_that_believes_lists_misses_what_lies(place):
    seen = set(FaultKind) - undetected(drilled(place, looking=listing))
    assert (
        {FaultKind.MISSING, FaultKind.TRUNCATION}
        <= seen
        <= {FaultKind.MISSING, FaultKind.TRUNCATION, FaultKind.SWAPPED}
    )


def test_an_audit_that_blames_the_wrong_store_is_not_said_to_name_rightly(place):
    other = {"a": "b", "b": "a"}

    def looking(repository):
        return [Finding(one.code, other[one.store], one.pack) for one in look(repository) if one.is_open]

    result = drilled(place, looking=looking, faults=(FaultKind.BIT_FLIP,))
    trial = result.trials[0]
    assert all(one.detected and not one.named for one in trial.injected)
    assert len(trial.false_alarms) == 3
    assert not result.passed


def test_an_audit_that_calls_a_missing_copy_damaged_is_not_said_to_name_rightly(place):
    def looking(repository):
        return [Finding(Code.COPY_DAMAGED, one.store, one.pack) for one in look(repository) if one.is_open]

    result = drilled(place, looking=looking, faults=(FaultKind.MISSING, FaultKind.TRUNCATION))
    assert [trial.passed for trial in result.trials] == [False, True]


def test_an_audit_that_accuses_good_copies_fails_though_it_finds_all(place):
    def looking(repository):
        with repository.reading() as view:
            packs = [row.pack for row in rows.every(view, PackRow)]
        return [*look(repository), *(Finding(Code.COPY_DAMAGED, name, pack) for name in "ab" for pack in packs)]

    result = drilled(place, looking=looking, faults=(FaultKind.BIT_FLIP,))
    assert result.control
    assert result.trials[0].false_alarms
    assert not result.passed


def test_an_audit_that_breaks_off_is_a_failure_and_not_the_end_of_the_drill(place):
    calls = Counter()

    def looking(repository):
        calls["looks"] += 1
        if calls["looks"] == 2:
            raise StorageError(place="here", reason="planned")
        return look(repository)

    result = drilled(place, looking=looking, faults=(FaultKind.BIT_FLIP, FaultKind.MISSING))
    assert [trial.passed for trial in result.trials] == [False, True]
    assert isinstance(result.trials[0].failure, MocbanError)


def test_a_repair_that_does_nothing_is_found_out(place):
    result = drilled(place, healing=lambda _repository: [])
    assert all(one.named for one in result.injected)
    assert not any(one.healed for one in result.injected)
    assert not result.passed


def spreading(repository):
    """A repair that copies whatever it finds on the first store over the second, and the other way round."""
    with repository.reading() as view, stores.all_open(stores.attached(view)) as opened:
        one, other = (store.backend for store in opened)
        for pack in rows.every(view, PackRow):
            key = pack_key(pack.fonds, pack.pack)
            with one.read(key, fresh=True) as reader:
                assert isinstance(other, Replacing)
                other.replace(key, other.stat(key), one.stat(key).size, reader)
    return []


def test_a_repair_that_spreads_the_damage_is_found_out_and_the_next_trial_begins_clean(place):
    result = drilled(place, healing=spreading, stores=("a",), faults=(FaultKind.BIT_FLIP, FaultKind.ZERO_TAIL))
    for trial in result.trials:
        assert sorted(trial.harmed) == sorted(("b", row.pack) for row in result.packs)
        assert all(one.named and not one.healed for one in trial.injected)
        assert not trial.false_alarms


def test_a_repair_that_believes_a_store_that_spoils_what_is_written_is_found_out(place):
    result = drilled(place, healing=lambda repository: [heal(repository), []][1], faults=(FaultKind.LYING_WRITE,))
    assert not any(one.healed for one in result.injected)
    assert not result.passed


def test_a_fault_that_changes_nothing_ends_the_drill(place, monkeypatch):
    def harmless(fault, medium, good):
        del medium, good, fault

    monkeypatch.setattr("audits.drill.inject", harmless)
    with pytest.raises(drill_faults.HarmlessFaultError):
        drilled(place)


# ---- what stands in its way ------------------------------------------------------------------------------------------


def test_with_one_store_damage_is_found_and_nothing_is_called_healed(tmp_path):
    place = filled(tmp_path, count=2, store_names=("a",), copies=1)
    result = drilled(place)
    assert all(one.named for one in result.injected)
    assert not any(one.healed for one in result.injected)
    assert result.exit_status == 3
    assert {one.fault.kind for one in result.injected} == set(FaultKind)


def test_a_real_copy_that_is_wrong_is_told_and_not_touched(tmp_path):
    place = filled(tmp_path, count=1)
    row = pack_rows(place)[0]
    flip(pack_file(place, "a", row), 5000)
    wrong = pack_file(place, "a", row).read_bytes()
    result = drilled(place, faults=(FaultKind.BIT_FLIP,))
    assert [(one.store, one.pack) for one in result.unusable] == [("a", row.pack)]
    assert result.passed
    assert result.exit_status == 3
    assert pack_file(place, "a", row).read_bytes() == wrong
    assert {copy.state for copy in copy_rows(place)} == {"good"}


def test_a_real_copy_that_is_gone_is_told(tmp_path):
    place = filled(tmp_path, count=1)
    pack_file(place, "b", pack_rows(place)[0]).unlink()
    assert [one.store for one in drilled(place, faults=(FaultKind.BIT_FLIP,)).unusable] == ["b"]


def test_a_store_that_is_away_is_left_out(tmp_path):
    place = filled(tmp_path, count=1, store_names=("a", "b", "c"))
    place.store("c").rename(tmp_path / "away")
    result = drilled(place, faults=(FaultKind.BIT_FLIP, FaultKind.MISSING))
    assert sorted(result.shadowed) == ["a", "b"]
    assert result.passed


def test_nothing_to_drill_with_is_an_error(tmp_path):
    with pytest.raises(NothingToDrillError):
        drilled(made(tmp_path))


def test_a_drill_asks_for_room_before_it_begins(place, monkeypatch):
    monkeypatch.setattr(drill_shadow, "SPARE", 1 << 60)
    with pytest.raises(DrillSpaceError):
        drilled(place)
    assert [] == [name for name in os.listdir(place.open().staging) if "scratch" in name]


def test_a_drill_can_work_elsewhere_and_leaves_nothing_there_either(place, tmp_path):
    seen = []

    def looking(repository):
        seen.append(os.path.dirname(repository.path))
        return look(repository)

    result = drilled(place, work=str(tmp_path), looking=looking, packs=1, faults=(FaultKind.BIT_FLIP,))
    assert result.passed
    assert {os.path.dirname(folder) for folder in seen} == {str(tmp_path)}
    assert [] == os.listdir(tmp_path)
    with pytest.raises(NoPlaceForDrillError):
        drilled(place, work=str(tmp_path / "nowhere"))


def test_a_drill_that_is_told_to_stop_stops_and_leaves_nothing(tmp_path):
    place = filled(tmp_path, count=2)
    place.stop_after = 6
    with pytest.raises(StoppedError):
        drilled(place)
    place.stop_after = None
    assert [] == [name for name in os.listdir(place.open().staging) if "scratch" in name]


@pytest.mark.parametrize("size", [1, 500_000])
def test_packs_of_any_size_are_damaged_where_it_shows(tmp_path, size, monkeypatch):
    monkeypatch.setattr(layout, "TARGET_SIZE", 400_000)
    place = made(tmp_path)
    submit_files(place, {"one": random.Random(1).randbytes(size)})
    for seed in range(2):
        assert drilled(place, seed=seed, faults=(FaultKind.ZERO_TAIL, FaultKind.SWAPPED, FaultKind.LYING_BYTES)).passed


# ---- the report ------------------------------------------------------------------------------------------------------


def test_the_ledger_keeps_figures_and_the_digest_of_the_report_only(tmp_path):
    place = filled(tmp_path, count=1)
    repository = place.open()
    result = drill(repository, Asked(seed=9, packs=1, faults=(FaultKind.BIT_FLIP, FaultKind.MISSING)), told=nothing)
    digest = record(repository, result)
    event = list(repository.ledger.records())[-1].event
    assert event.type.endswith("drill")
    assert event.outcome == "success"
    assert event.detail == {
        "drill": result.drill,
        "seed": 9,
        "packs": 1,
        "report_sha256": digest,
        "injected": 2,
        "detected": 2,
        "named": 2,
        "healed": 2,
        "false_alarms": 0,
        "harmed": 0,
        "broken_off": 0,
        "unusable": 0,
    }
    assert report_bytes(result) == report_bytes(result)


def test_a_failed_drill_is_a_failure_in_the_ledger(tmp_path):
    place = filled(tmp_path, count=1)
    repository = place.open()
    asked = Asked(seed=9, packs=1, faults=(FaultKind.MISSING,))
    record(repository, drill(repository, asked, told=nothing, looking=lambda _repository: []))
    event = list(repository.ledger.records())[-1].event
    assert (event.outcome, event.detail["detected"], event.detail["injected"]) == ("failure", 0, 1)


# ---- the faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.BIT_FLIP, FaultKind.TRUNCATION, FaultKind.ZERO_TAIL])
@pytest.mark.parametrize("at", [0, 1, 6, 7, 8, 50, 99])
def test_bytes_are_made_wrong_in_the_same_way_however_they_are_read(kind, at):
    data = bytes(range(1, 101))
    fault = Fault(kind=kind, store="a", key="k", pack="p", size=100, at=at, bit=3)
    wanted = {
        FaultKind.BIT_FLIP: data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :],
        FaultKind.TRUNCATION: data[:at],
        FaultKind.ZERO_TAIL: data[:at] + bytes(100 - at),
    }[kind]
    for size in (1, 7, 100):
        source = drill_faults._Altered(io.BytesIO(data), fault, cut=kind is FaultKind.TRUNCATION)
        assert b"".join(iter(lambda source=source, size=size: source.read(size), b"")) == wanted
