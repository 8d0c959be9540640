"""Migrations for tests: people with keys, old Vietnamese texts, plans made, approved and executed."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from repository_support import Place, nothing, submit_files

from preservation.agents import read_public_key, register
from preservation.catalog.plans import MigratedRow
from preservation.catalog.rows import every
from preservation.formats.workers import WorkerPool
from preservation.migration.approval import sign
from preservation.migration.executing import execute
from preservation.migration.plan import plan_row
from preservation.migration.planning import Asked, make_plan
from preservation.migration.vietnamese import encode

PATHWAY = "tcvn3-utf8"
LETTER = "Kính gửi: Ủy ban nhân dân xã Tân Lập.\nVề việc cấp giấy chứng nhận quyền sử dụng đất.\n"
PLAIN = LETTER.lower()
"""TCVN3 has no capitals with tones."""

AUTHOR, APPROVER = "Nguyễn Thị An", "Trần Văn Bình"


def tcvn3(text=PLAIN):
    return encode(text, "tcvn3")


@cache
def key_pair(name):
    """A key pair as PEM; the same for the same name."""
    from hashlib import sha256  # noqa: PLC0415 - only here

    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - the same

    private = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
    plain = serialization.NoEncryption()
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret, public


def key_files(folder, name):
    """Write a key pair into files; return their paths."""
    secret, public = key_pair(name)
    paths = Path(folder, f"{name}.pem"), Path(folder, f"{name}.pub.pem")
    paths[0].write_bytes(secret)
    paths[1].write_bytes(public)
    return str(paths[0]), str(paths[1])


@dataclass
class Office:
    """A place with people who have keys."""

    place: Place
    identifier: WorkerPool
    secrets: dict = field(default_factory=dict)

    def person(self, name, *, key=None):
        secret, public = key_files(self.place.folder, key or name)
        self.secrets[name] = secret
        return register(self.place.open(), name, read_public_key(public))

    def submit(self, files, name="submission", **more):
        return submit_files(self.place, files, name, identifier=self.identifier, **more)

    def plan(self, **more):
        asked = {"pathway": PATHWAY, "agent": AUTHOR, "key": self.secrets[AUTHOR], "sample": 1, **more}
        return make_plan(self.place.open(), Asked(**asked), self.identifier, nothing)

    def approve(self, plan, agent=APPROVER):
        return sign(self.place.open(), plan, agent, role="approval", key=self.secrets[agent])

    def approved(self, **more):
        plan = self.plan(**more).plan
        self.approve(plan)
        return plan

    def run(self, plan, **more):
        return execute(self.place.open(), plan, self.identifier, nothing, **more)

    def row(self, plan):
        with self.place.open().reading() as view:
            return plan_row(view, plan)

    def migrated(self, plan):
        with self.place.open().reading() as view:
            return list(every(view, MigratedRow, plan))


def office(place, identifier):
    """People who may plan and approve."""
    made = Office(place, identifier)
    made.person(AUTHOR)
    made.person(APPROVER)
    return made
