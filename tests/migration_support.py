"""Migrations for tests: people with keys, old Vietnamese texts, plans made, approved and executed."""

import itertools
import os
import signal
import threading
import traceback
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from repository_support import Place, nothing, submit_files

from preservation.agents import read_public_key, register
from preservation.catalog.plans import MigratedRow
from preservation.catalog.rows import every
from preservation.formats.identification import TEXT_TCVN3, FormatIdentifier, FormatMatch, Identification, Puid
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
    identifier: FormatIdentifier
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


class ByName:
    """A `FormatIdentifier` in this process: plain text by its name, old texts by their bytes; safe to be forked."""

    def submit(self, sample):
        future = Future()
        future.set_result(self._answer(sample))
        return future

    def _answer(self, sample):
        if sample.extension != "txt":
            return Identification("unidentified")
        match = FormatMatch(Puid("x-fmt/111"), "extension", "by name", "none")
        try:
            sample.head.decode()
        except UnicodeDecodeError:
            return Identification("identified", (match,), (TEXT_TCVN3,))
        return Identification("identified", (match,))

    def close(self):
        pass


STEPS = ("fsync", "fdatasync", "rename", "replace", "link", "unlink", "rmdir", "mkdir")
"""What makes something last, or go."""


def killed_at(number, work, *, after=False):
    """Do ``work`` in a process that kills itself at its step ``number``; return its end and its steps.

    Nothing of it runs after that: no ``finally``, no flush. Step 0 is never reached.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            count = _counted(number, after=after)
            work()
            os.write(writer, str(next(count)).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - it must end here
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(status), int(said or 0)


def _counted(number, *, after):
    """Let every step of this process be counted, and the one of this number be its last."""
    count, lock = itertools.count(1), threading.Lock()

    def counting(call):
        def step(*arguments, **more):
            with lock:
                here = next(count) == number
            if here and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **more)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))
    return count
