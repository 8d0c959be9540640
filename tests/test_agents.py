"""People and their keys: what the ledger has of them, whom a key stands for, what a revoked one is good for."""

import json
import subprocess

import pytest
from migration_support import APPROVER, AUTHOR, key_files
from repository_support import audit, catalog_rows, every_row, made, rebuilt_rows

from preservation.agents import (
    AgentKindError,
    BadAgentNameError,
    BadPublicKeyError,
    KeyKnownError,
    NoSuchAgentError,
    NoSuchAgentKeyError,
    agent_named,
    agents,
    read_public_key,
    register,
    revoke,
)
from preservation.creation import open_repository
from preservation.rebuilding import rebuild_from
from preservation.sidecars import description_name


@pytest.fixture
def place(tmp_path):
    return made(tmp_path)


def person(place, name, key=None, **more):
    return register(place.open(), name, read_public_key(key_files(place.folder, key or name)[1]), **more)


def named(place, name):
    repository = place.open()
    with repository.reading() as view:
        return agent_named(repository, view, name)


def test_the_ledger_has_an_identifier_and_a_key_and_no_name(place):
    agent = person(place, AUTHOR)
    data = b"".join(place.open().ledger.raw_records())
    assert AUTHOR.encode() not in data
    assert json.dumps(AUTHOR)[1:-1].encode() not in data
    assert agent.identity.encode() in data
    assert agent.keys[0].key_id.encode() in data
    assert AUTHOR == named(place, agent.identity[:20]).name


def test_a_name_can_be_taken_away_and_everything_else_still_holds(place):
    agent = person(place, AUTHOR)
    repository = place.open()
    repository.sidecars.forget(description_name(agent.row.description))
    found = named(place, agent.identity)
    assert ("", agent.identity) == (found.name, found.shown)
    assert found.keys == agent.keys
    with pytest.raises(NoSuchAgentError):
        named(place, AUTHOR)


def test_a_key_is_one_agents_for_ever(place):
    agent = person(place, AUTHOR)
    with pytest.raises(KeyKnownError):
        person(place, APPROVER, key=AUTHOR)
    with pytest.raises(KeyKnownError):
        person(place, AUTHOR)
    assert [agent.keys[0].key_id] == revoke(place.open(), named(place, AUTHOR), reason="lost")
    for name in (AUTHOR, APPROVER):
        with pytest.raises(KeyKnownError):
            person(place, name, key=AUTHOR)


def test_a_second_key_is_the_same_persons_however_the_name_is_spelled(place):
    first = person(place, AUTHOR)
    second = person(place, "nguyễn thị AN", key="another")
    assert first.identity == second.identity
    assert 2 == len(second.keys_in_use)
    with pytest.raises(AgentKindError):
        person(place, AUTHOR, key="third", kind="program")


def test_a_revoked_key_is_kept_and_no_longer_in_use(place):
    person(place, AUTHOR)
    agent = person(place, AUTHOR, key="another")
    gone, left = agent.keys
    assert [gone.key_id] == revoke(place.open(), agent, key=gone.key_id[:8], reason="replaced")
    found = named(place, AUTHOR)
    assert [left.key_id] == [key.key_id for key in found.keys_in_use]
    assert ["replaced", ""] == [key.reason for key in found.keys]
    with pytest.raises(NoSuchAgentKeyError):
        revoke(place.open(), found, key=gone.key_id)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 201, "\x1b[2J"])
def test_a_name_that_could_not_be_read_is_refused(place, name):
    with pytest.raises(BadAgentNameError):
        person(place, name, key="k")
    with place.open().reading() as view:
        assert not [key for key in every_row(view) if key.startswith(b"agent")]


def test_only_public_ed25519_keys_are_taken(place, tmp_path):
    secret, _ = key_files(tmp_path, "k")
    with pytest.raises(BadPublicKeyError, match="private"):
        read_public_key(secret)
    for number, text in enumerate((b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 5000)):
        path = tmp_path / f"wrong-{number}"
        path.write_bytes(text)
        with pytest.raises(BadPublicKeyError):
            read_public_key(str(path))
    with pytest.raises(BadPublicKeyError):
        read_public_key(str(tmp_path / "absent"))
    curve = tmp_path / "p256.pem"
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made_key = subprocess.run(command, capture_output=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=made_key, capture_output=True, check=True).stdout
    curve.write_bytes(public)
    with pytest.raises(BadPublicKeyError, match="another kind"):
        read_public_key(str(curve))


def test_agents_lie_on_every_store_and_come_back_from_one(place, tmp_path):
    person(place, AUTHOR)
    person(place, APPROVER)
    assert catalog_rows(place) == rebuilt_rows(place)
    report = audit(place)
    assert (0, 0) == (report.exit_status, report.coverage.unexpected)
    again = tmp_path / "again"
    rebuild_from(place.url("a"), str(again), place.world, kit=f"{place.path}.recovery-kit")
    repository = open_repository(str(again), place.world)
    with repository.reading() as view:
        assert {AUTHOR, APPROVER} == {one.name for one in agents(repository, view)}
