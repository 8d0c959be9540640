"""Time-stamp queries, replies and tokens (RFC 3161) as bytes; nothing is asked, kept or believed here.

What a token says is read with asn1crypto; whether it is signed by whom it should be, ``openssl ts -verify`` says.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from storage_backends.errors import MocbanError, marked

KIND = "application/timestamp-query"
"""The content type of a query."""

TOOL_SECONDS = 30.0
"""How long openssl may take for one token."""

_GRANTED = {"granted", "granted_with_mods"}
_SENTENCE = 300


class TokenError(MocbanError):
    """What came is no token over the bytes that were asked about; it was not kept."""

    template = marked("The time-stamping authority's answer cannot be used: {reason}")


class TokenRefusedError(TokenError):
    """The authority answered that it gives no token."""

    template = marked("The time-stamping authority gives no token: {status} {reason}")


class OpensslError(MocbanError):
    """openssl could not be run, so nothing is known of the token."""

    template = marked("A token could not be verified, because openssl did not do its work: {reason}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its DER, the SHA-256 that it is about, its time, its nonce, when the signer's certificate ends.

    ``until`` is None if the token does not carry that certificate.
    """

    data: bytes
    imprint: bytes
    time: datetime
    nonce: int | None
    until: datetime | None


def query(digest: bytes, nonce: int) -> bytes:
    """Return the query for a token over what has the SHA-256 ``digest``, with the signer's certificate in it."""
    from asn1crypto.tsp import TimeStampReq  # noqa: PLC0415 - only who asks needs it

    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest}
    asked = TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": nonce, "cert_req": True})
    encoded: bytes = asked.dump()
    return encoded


def read_reply(data: bytes, digest: bytes, nonce: int) -> Token:
    """Return the token in a reply to ``query(digest, nonce)``; its signature is not verified yet.

    Raises:
        TokenRefusedError: The authority says no, and why.
        TokenError: It is no reply, or is one to another query.
    """
    from asn1crypto.cms import ContentInfo  # noqa: PLC0415 - only who asks needs it
    from asn1crypto.core import Sequence  # noqa: PLC0415 - the same
    from asn1crypto.tsp import PKIStatusInfo  # noqa: PLC0415 - the same

    class Reply(Sequence):  # type: ignore[misc]
        """As RFC 3161 has it: one that says no carries no token, which asn1crypto's own class does not know."""

        _fields: ClassVar = [("status", PKIStatusInfo), ("time_stamp_token", ContentInfo, {"optional": True})]

    with _strange_bytes():
        reply = Reply.load(data, strict=True)
        status = str(reply["status"]["status"].native)
        if status not in _GRANTED:
            texts = [
                *(reply["status"]["status_string"].native or ()),
                *sorted(reply["status"]["fail_info"].native or ()),
            ]
            raise TokenRefusedError(status=status[:_SENTENCE], reason=", ".join(map(str, texts))[:_SENTENCE])
        inner = bytes(reply["time_stamp_token"].dump())
    token = read_token(inner)
    if token.imprint != digest:
        raise TokenError(reason=marked("it is about other bytes"))
    if token.nonce != nonce:
        raise TokenError(reason=marked("it answers another query (its nonce is another one)"))
    return token


def read_token(data: bytes) -> Token:
    """Return what a token says; its signature is not verified. Raises ``TokenError``."""
    from asn1crypto.cms import ContentInfo  # noqa: PLC0415 - only who asks needs it

    with _strange_bytes():
        outer = ContentInfo.load(data, strict=True)
        if outer["content_type"].native != "signed_data":
            raise TokenError(reason=marked("it holds no signed data"))
        signed = outer["content"]
        if signed["encap_content_info"]["content_type"].native != "tst_info":
            raise TokenError(reason=marked("it holds no time-stamp"))
        said = signed["encap_content_info"]["content"].parsed
        if said["message_imprint"]["hash_algorithm"]["algorithm"].native != "sha256":
            raise TokenError(reason=marked("it is not about a SHA-256 digest"))
        time = said["gen_time"].native
        if not isinstance(time, datetime) or time.tzinfo is None:
            raise TokenError(reason=marked("it says no time"))
        imprint = bytes(said["message_imprint"]["hashed_message"].native)
        return Token(data, imprint, time.astimezone(UTC), said["nonce"].native, _until(signed))


def _until(signed: Any) -> datetime | None:
    """Return when the certificate of the first signer ends."""
    signer = signed["signer_infos"][0]["sid"].chosen
    for choice in signed["certificates"] or ():
        certificate = choice.chosen
        try:
            if certificate.serial_number == signer["serial_number"].native and certificate.issuer == signer["issuer"]:
                end: datetime = certificate["tbs_certificate"]["validity"]["not_after"].native
                return end.astimezone(UTC)
        except (KeyError, AttributeError):
            continue
    return None


@contextmanager
def _strange_bytes() -> Iterator[None]:
    """Turn whatever strange bytes do to the parser into ``TokenError``."""
    try:
        yield
    except MocbanError:
        raise
    except Exception as error:  # the parser raises what it likes, late, on bytes from a stranger
        raise TokenError(reason=f"{type(error).__name__}: {error}"[:_SENTENCE]) from error


def signature_problem(token: Token, ca_file: str) -> str:
    """Return why openssl does not accept a token as of its own time, against the roots in ``ca_file``; empty: it does.

    Raises:
        OpensslError: openssl is not there, or did not end in time.
    """
    command = ["openssl", "ts", "-verify", "-in", "/dev/stdin", "-token_in", "-digest", token.imprint.hex()]
    command += ["-CAfile", ca_file, "-attime", str(int(token.time.timestamp()))]
    try:
        done = subprocess.run(command, input=token.data, capture_output=True, timeout=TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else marked("it took too long")
        raise OpensslError(reason=reason) from error
    if done.returncode == 0 and b"Verification: OK" in done.stdout:
        return ""
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "error" in line]
    return (lines[-1].strip() if lines else "Verification: FAILED")[:_SENTENCE]
