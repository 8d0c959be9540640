"""What can be wrong with a plan, a signature or an execution; none of it changes anything that is kept."""

from storage_backends.errors import MocbanError, marked


class MigrationError(MocbanError):
    """A migration could not be planned, approved, executed or undone."""


class NoSuchPathwayError(MigrationError):
    """There is no such pathway."""

    template = marked("There is no pathway {pathway}; 'mocban migrate pathways' shows those there are")


class PathwayUnavailableError(MigrationError):
    """The pathway cannot be gone on this machine."""

    template = marked("The pathway {pathway} needs programs that are not installed or do not run: {programs}")


class NothingToMigrateError(MigrationError):
    """No file that is held is meant by the query."""

    template = marked("No file is held that the pathway {pathway} could be for within what was asked")


class NoSuchPlanError(MigrationError):
    """There is no such plan."""

    template = marked("There is no migration plan {plan}; 'mocban migrate list' shows those there are")


class PlanChangedError(MigrationError):
    """The plan's file is not the one that the ledger names."""

    template = marked("The file of plan {plan} is missing, or is not the one that was recorded: {place}")


class PathwayChangedError(MigrationError):
    """What the plan was approved for is not what would be done now."""

    template = marked("The pathway of plan {plan} is not what was approved: {what} was {planned} and is {found}")


class SetChangedError(MigrationError):
    """The files that would be migrated are not those that the plan was approved for."""

    template = marked(
        "The files that plan {plan} is about have changed: {planned} files under root {root}, now {found} under "
        "{found_root}. Make a new plan"
    )


class PlanClosedError(MigrationError):
    """The plan can be neither approved nor executed any more."""

    template = marked("Plan {plan} is {state}: nothing more is done with it")


class NotApprovedError(MigrationError):
    """A signature is missing."""

    template = marked("Plan {plan} may not be executed: {reason}")


class BadSignatureError(MigrationError):
    """A signature is not what it should be."""

    template = marked(
        "This is no signature of {agent} for plan {plan} as it stands now. 'mocban migrate show {plan} --statement "
        "--agent NAME' prints what is to be signed"
    )


class SelfApprovalError(MigrationError):
    """Whoever made the plan wants to approve it."""

    template = marked("Plan {plan} was made by {agent}; a second person must approve it")


class KeyRevokedError(MigrationError):
    """The signature is by a key that was revoked."""

    template = marked("The key {key} of {agent} was revoked on {revoked}: it signs nothing any more")


class SignedAlreadyError(MigrationError):
    """There is such a signature already."""

    template = marked("Plan {plan} is signed already by {agent} as {role}")


class BadPrivateKeyError(MigrationError):
    """A private key cannot be used."""

    template = marked(
        "{place}: no private Ed25519 key without a passphrase can be read here ({reason}). Keys that are kept "
        "otherwise sign with openssl, see docs/migration.md"
    )


class PlanBusyError(MigrationError):
    """Another process executes or undoes the plan."""

    template = marked("Plan {plan} is being worked on by another process")
