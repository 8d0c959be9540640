"""Makes a repository, and opens one."""

import os
import secrets
import shutil
from contextlib import suppress

from preservation.configuration import FILE_NAME, TEMPLATE, Configuration, NoRepositoryError
from preservation.identifiers import new_id
from preservation.ledger.files import create_file, fsync_directory
from preservation.ledger.keys import KeyFileSigner, create_keys, load_signer
from preservation.ledger.log import Ledger
from preservation.repository import Repository, World, assembled
from storage_backends.errors import MocbanError, marked

KIT = "recovery-kit"
"""The recovery kit lies beside the repository, as ``DIR.recovery-kit``, until people take it to a safe place."""


class RepositoryExistsError(MocbanError):
    """There is something at the place already."""

    template = marked("{place}: there is something here already ({reason}); nothing was changed")


def create(path: str, world: World, *, kit: str = "") -> Repository:
    """Make a repository at ``path``, which does not exist or is an empty folder; return it open.

    It is made beside its place and moved there when it is complete, so that a crash leaves no half repository.
    ``kit`` is where the recovery kit goes; see ``default_kit``.

    Raises:
        RepositoryExistsError: something is there already.
    """
    path = os.path.abspath(path)
    if os.path.exists(os.path.join(path, FILE_NAME)):
        raise RepositoryExistsError(place=path, reason="a repository")
    if os.path.isdir(path) and os.listdir(path):
        raise RepositoryExistsError(place=path, reason="a folder that is not empty")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{secrets.token_hex(4)}.init"
    try:
        _make(beside, world)
        _place_kit(os.path.join(beside, KIT), os.path.abspath(kit) if kit else default_kit(path))
        with suppress(FileNotFoundError):
            os.rmdir(path)
        os.rename(beside, path)
        fsync_directory(os.path.dirname(path))
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return open_repository(path, world)


def default_kit(path: str) -> str:
    """Return where the recovery kit of the repository at ``path`` is put and first looked for."""
    return f"{os.path.abspath(path)}.{KIT}"


def _place_kit(made: str, kit: str) -> None:
    number = 1
    while os.path.lexists(kit):  # the kit of an init that was killed, or of a repository that is gone
        old = f"{kit}.old-{number}"
        if not os.path.lexists(old):
            os.rename(kit, old)
        number += 1
    shutil.move(made, kit)
    for name in os.listdir(kit):  # on another disk these are copies
        with open(os.path.join(kit, name), "rb") as file:
            os.fsync(file.fileno())
    fsync_directory(kit)
    fsync_directory(os.path.dirname(kit))


def _make(path: str, world: World) -> None:
    os.mkdir(path)
    for name in ("staging", "keys"):
        os.mkdir(os.path.join(path, name))  # the secret key in it is 0600, the public halves are for everybody
    os.mkdir(os.path.join(path, KIT), 0o700)
    identity = new_id(world.now(), world.random)
    origin = f"mocban/{identity}"
    keys = create_keys(os.path.join(path, "keys"), os.path.join(path, KIT), origin, world.random)
    Ledger.create(
        os.path.join(path, "ledger"),
        origin=origin,
        signer=keys.log,
        root_key=keys.root,
        clock=world.now,
        random=world.random,
        agent=world.agent,
        detail={"repository": identity},
        root_signer=keys.root_signer,
    )
    text = TEMPLATE.format(repository=identity, origin=origin).encode()
    configuration = Configuration.parse(text, path)
    ledger = open_ledger(path, world, read_only=True)
    assembled(path, configuration, ledger, world).catalog.create()
    create_file(os.path.join(path, FILE_NAME), text)


def open_ledger(path: str, world: World, *, read_only: bool, at_least: int = 0) -> Ledger:
    """Open the ledger of the repository at ``path``."""
    signers: list[KeyFileSigner] = [] if read_only else [load_signer(os.path.join(path, "keys"))]
    return Ledger.open(
        os.path.join(path, "ledger"),
        clock=world.now,
        random=world.random,
        signers=signers,
        read_only=read_only,
        at_least=at_least,
        agent=world.agent,
    )


def open_repository(path: str, world: World, *, read_only: bool = False) -> Repository:
    """Open the repository at ``path``; with ``read_only`` nothing in it can be changed by what is returned.

    Raises:
        NoRepositoryError, ConfigurationError, FormatError, LedgerError.
    """
    path = os.path.abspath(path)
    configuration = Configuration.load(path)
    if not os.path.isdir(os.path.join(path, "ledger")):
        raise NoRepositoryError(place=path)
    return assembled(path, configuration, open_ledger(path, world, read_only=read_only), world)
