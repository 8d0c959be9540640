"""Migrations for tests: people with keys, old Vietnamese texts, plans made, approved and executed."""

import itertools
import os
import signal
import stat
import subprocess
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
            try:
                return call(*arguments, **more)
            finally:  # a step that fails is one too
                if here:
                    os.kill(os.getpid(), signal.SIGKILL)

        return step

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))
    return count


def left_at_each_step(work, folder, kept):
    """Do ``work`` in a process that copies ``folder`` into ``kept`` before each of its steps, and at the end.

    A copy is what a kill would leave there and then: what was written, and nothing of the process. What is the same to
    the last byte as before an earlier step is there once, under the number of that step. Returns how many steps it had.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            count, seen = itertools.count(1), set()
            _copying(count, seen, folder, kept)
            work()
            steps = next(count)
            _copied_if_new(seen, folder, kept / f"{steps:06d}")
            os.write(writer, str(steps).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - as above
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read())


def _copying(count, seen, folder, kept):
    lock = threading.Lock()

    def copying(call):
        def step(*arguments, **more):
            with lock:
                _copied_if_new(seen, folder, kept / f"{next(count):06d}")
            return call(*arguments, **more)

        return step

    for name in STEPS:
        setattr(os, name, copying(getattr(os, name)))


def _copied_if_new(seen, folder, place):
    state = _state_of(folder)
    if state not in seen:
        seen.add(state)
        subprocess.run(["cp", "-a", folder, place], check=True)


def _state_of(folder):
    """A digest of all names, kinds, modes and contents below a folder."""
    state = sha256()
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = os.path.join(place, name)
            try:
                about = os.lstat(path)
                content = Path(path).read_bytes() if stat.S_ISREG(about.st_mode) else b""
            except FileNotFoundError:  # another thread has removed it meanwhile
                continue
            state.update(f"{path} {about.st_mode} {about.st_nlink} {len(content)}\n".encode(errors="surrogateescape"))
            state.update(content)
    return state.digest()
