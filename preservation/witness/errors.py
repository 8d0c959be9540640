"""What can go wrong at a witness, as one family."""

from storage_backends.errors import MocbanError, marked


class WitnessFolderError(MocbanError):
    """The witness's folder could not be made, read or written."""

    template = marked("{place}: {reason}")


class NoWitnessError(WitnessFolderError):
    """There is no witness in this folder."""

    template = marked("{place}: there is no witness here; 'mocban witness init {place} --name NAME' makes one")


class RefusedError(MocbanError):
    """A checkpoint is not countersigned. Nothing that the witness holds was changed."""

    template = marked("The checkpoint is not countersigned: {reason}")


class MalformedRequestError(RefusedError):
    """What came is no request, or contradicts itself."""

    template = marked("This is not a request to a witness: {reason}")


class UnknownLogError(RefusedError):
    """The witness serves no log of this origin."""

    template = marked("The witness does not serve the ledger {origin}; 'mocban witness trust' makes it do so")


class UntrustedError(RefusedError):
    """No key that the witness trusts for this log has signed the checkpoint."""

    template = marked("The checkpoint of {origin} is signed by no key that the witness trusts for it: {reason}")


class StaleRequestError(RefusedError):
    """The request starts from another size than that which the witness has countersigned last."""

    template = marked("The witness has countersigned {known} events of {origin}, but the request starts from {old}")


class ForkError(RefusedError):
    """The log has shown the witness two histories that cannot both be true; the checkpoint is kept as evidence."""

    template = marked(
        "ALARM: {origin} shows another history than the one of {known} events that was countersigned ({reason}). "
        "Nothing was countersigned; the evidence is in {evidence}"
    )


class ListenError(MocbanError):
    """The witness could not listen where it was told to."""

    template = marked("{address}: the witness cannot listen here: {reason}")
