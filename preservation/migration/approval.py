"""Signatures over a plan: its author's and a second person's, each verified when it comes and before each run."""

from typing import cast

from preservation.agents import KEY_FILE_LIMIT, Agent, PublicKey, agent_named
from preservation.catalog import rows
from preservation.catalog.agents import AgentKeyRow
from preservation.catalog.catalog import View
from preservation.catalog.plans import PlanRow, PlanState
from preservation.evidence import push
from preservation.ledger.events import EventType
from preservation.migration.errors import (
    BadPrivateKeyError,
    BadSignatureError,
    KeyRevokedError,
    NotApprovedError,
    PlanClosedError,
    SelfApprovalError,
    SignedAlreadyError,
)
from preservation.migration.plan import Role, plan_row, read_plan, statement
from preservation.repository import Repository
from preservation.stores import all_open, attached
from storage_backends.errors import marked

SIGNATURE_BYTES = 64

OPEN_STATES = frozenset({PlanState.PLANNED, PlanState.APPROVED})


def signature_in(path: str) -> bytes:
    """Return the signature in a file, as ``openssl pkeyutl -sign`` writes it; raises ``OSError``."""
    with open(path, "rb") as file:
        return file.read(SIGNATURE_BYTES + 1)


def signed_with(path: str, message: bytes) -> bytes:
    """Return the signature of the private key in a PEM file, which is read and not kept.

    Raises:
        BadPrivateKeyError: there is none, it is not Ed25519, or it has a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - costs every start 70 ms
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - the same

    try:
        with open(path, "rb") as file:
            data = file.read(KEY_FILE_LIMIT)
        key = serialization.load_pem_private_key(data, None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadPrivateKeyError(place=path, reason=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadPrivateKeyError(place=path, reason=marked("another kind of key"))
    return key.sign(message)


def sign(
    repository: Repository, plan: str, agent: str, *, role: Role, key: str = "", signature: bytes = b""
) -> PlanRow:
    """Record a signature over a plan: made with the private key at ``key``, or elsewhere and given.

    Whoever made the plan cannot approve it, with whatever key.

    Raises:
        PlanChangedError, PlanClosedError, SignedAlreadyError: not this plan.
        SelfApprovalError, NotApprovedError: not by this agent.
        BadSignatureError, KeyRevokedError: not this signature.
    """
    with repository.reading() as view:
        row, who = plan_row(view, plan), agent_named(repository, view, agent)
    read_plan(repository, row)
    message = statement(repository.configuration.repository, row, role, who.identity)
    if key:
        signature = signed_with(key, message)
    with repository.deciding() as (view, append):
        row, who = plan_row(view, row.plan), agent_named(repository, view, who.identity)
        _check_role(row, who, role)
        used = _key_of(who, row, message, signature)
        event = repository.event(
            EventType.PLAN_SIGNED,
            fonds=row.fonds or None,
            plan=row.plan,
            sha256=row.sha256,
            role=role,
            agent=who.identity,
            key_id=used.key_id,
            signature=signature.hex(),
        )
        append([event])
    with repository.reading() as view:
        store_rows = attached(view)
    with all_open(store_rows) as stores:
        push(repository, stores)
    with repository.reading() as view:
        return plan_row(view, row.plan)


def _check_role(row: PlanRow, who: Agent, role: Role) -> None:
    if row.state not in OPEN_STATES:
        raise PlanClosedError(plan=row.plan, state=row.state)
    if role == "author":
        if who.identity != row.author:
            raise NotApprovedError(plan=row.plan, reason=marked("only its author signs as its author"))
        if row.author_signature:
            raise SignedAlreadyError(plan=row.plan, agent=who.shown, role=role)
        return
    if who.identity == row.author:
        raise SelfApprovalError(plan=row.plan, agent=who.shown)
    if row.approver_signature:
        raise SignedAlreadyError(plan=row.plan, agent=row.approver, role=role)
    if not row.author_signature:
        raise NotApprovedError(plan=row.plan, reason=marked("its author has not signed it yet"))


def _key_of(who: Agent, row: PlanRow, message: bytes, signature: bytes) -> AgentKeyRow:
    """Return with which key of the agent the signature was made."""
    for key in who.keys:
        if PublicKey(bytes.fromhex(key.public)).verifies(message, signature):
            if key.revoked:
                raise KeyRevokedError(key=key.key_id[:16], agent=who.shown, revoked=key.revoked)
            return key
    raise BadSignatureError(agent=who.shown, plan=row.plan)


def check_approved(repository: Repository, view: View, row: PlanRow) -> None:
    """Verify both signatures anew: by two agents, with two keys, none revoked, over the plan as it stands.

    Raises:
        NotApprovedError, SelfApprovalError, KeyRevokedError, BadSignatureError.
    """
    if not row.author_signature:
        raise NotApprovedError(plan=row.plan, reason=marked("its author has not signed it yet"))
    if not row.approver_signature:
        raise NotApprovedError(plan=row.plan, reason=marked("no second person has approved it"))
    if row.author == row.approver or row.author_key == row.approver_key:
        raise SelfApprovalError(plan=row.plan, agent=row.author)
    for role, agent, key_id, signature in (
        ("author", row.author, row.author_key, row.author_signature),
        ("approval", row.approver, row.approver_key, row.approver_signature),
    ):
        key = rows.one(view, AgentKeyRow, key_id)
        message = statement(repository.configuration.repository, row, cast("Role", role), agent)
        known = key is not None and key.agent == agent
        if key is None or not known or not PublicKey(bytes.fromhex(key.public)).verifies(message, _bytes(signature)):
            raise BadSignatureError(agent=agent, plan=row.plan)
        if key.revoked:
            raise KeyRevokedError(key=key_id[:16], agent=agent, revoked=key.revoked)


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
