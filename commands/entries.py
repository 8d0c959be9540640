"""Every command with one line on what it does and the module it lives in, so that help needs none of the modules."""

from dataclasses import dataclass

from commands.wording import _


@dataclass(frozen=True, slots=True)
class Entry:
    """One command, or a group of commands, which has no module."""

    short: str
    module: str = ""


ENTRIES = {
    "init": Entry(_("Make a new repository."), "commands.beginning"),
    "store": Entry(_("Add, list and detach the stores that keep the copies.")),
    "store add": Entry(_("Attach a store, or tell where a known one has moved."), "commands.storing"),
    "store list": Entry(_("List the stores."), "commands.storing"),
    "store detach": Entry(_("Stop counting on a store."), "commands.storing"),
    "fonds": Entry(_("Open and list fonds.")),
    "fonds add": Entry(_("Open a fonds."), "commands.grouping"),
    "fonds list": Entry(_("List the fonds."), "commands.grouping"),
    "ingest": Entry(_("Take in a folder, a bag or an archive and keep it for ever."), "commands.ingesting"),
    "ingest abandon": Entry(_("Give up an ingest that has begun and not ended."), "commands.ingesting"),
    "list": Entry(_("List the packages."), "commands.showing"),
    "show": Entry(_("Show a package and its files."), "commands.showing"),
    "status": Entry(_("Show how the repository and its stores are."), "commands.showing"),
    "audit": Entry(_("Read the copies, say what is wrong and repair it."), "commands.auditing"),
    "audit pause": Entry(_("Let the service leave the stores alone for a while."), "commands.pausing"),
    "audit resume": Entry(_("End a pause of the service's audits."), "commands.pausing"),
    "repair": Entry(_("Repair the copies that are known not to be good."), "commands.auditing"),
    "drill": Entry(_("Damage shadow copies and see whether the audit finds and heals it."), "commands.drilling"),
    "plan": Entry(_("Plan audits and copies.")),
    "plan audit": Entry(_("Compute how likely a loss is, and how often copies must be read."), "commands.planning"),
    "replicate": Entry(_("Bring every store up to date."), "commands.replicating"),
    "tape": Entry(_("Care for cartridges: label, list, load, fetch, evacuate, retire them.")),
    "tape label": Entry(_("Label blank cartridges, or make and label images."), "commands.taping"),
    "tape list": Entry(_("List the cartridges: state, place, age, errors."), "commands.taping"),
    "tape load": Entry(_("Mount a cartridge and compare its label."), "commands.taping"),
    "tape eject": Entry(_("Bring what is in the drives back to its slot."), "commands.taping"),
    "tape export": Entry(_("Take a cartridge to a shelf and record where."), "commands.shelving"),
    "tape import": Entry(_("Say that a cartridge is back from its shelf."), "commands.shelving"),
    "tape picklist": Entry(_("List the cartridges to fetch from shelves."), "commands.shelving"),
    "tape scan": Entry(_("See what is on a cartridge, and take it up if it is ours."), "commands.taping"),
    "tape evacuate": Entry(_("Write everything on a cartridge anew to others, and retire it."), "commands.taping"),
    "tape retire": Entry(_("Give a cartridge up."), "commands.taping"),
    "formats": Entry(_("Tell which formats files have, and by which signatures.")),
    "formats identify": Entry(_("Identify files, in a repository or not."), "commands.formatting"),
    "formats signatures": Entry(_("Build, import, compare and activate signatures of formats.")),
    "formats signatures build": Entry(_("Make a bundle of the signatures shipped with FIDO."), "commands.formatting"),
    "formats signatures import": Entry(_("Make a bundle of DROID's signature files."), "commands.formatting"),
    "formats signatures activate": Entry(_("Use a bundle from now on."), "commands.formatting"),
    "formats signatures diff": Entry(_("Compare two bundles."), "commands.formatting"),
    "formats signatures list": Entry(_("List the bundles."), "commands.formatting"),
    "formats reidentify": Entry(_("Go through all files again with the active signatures."), "commands.reidentifying"),
    "formats review": Entry(_("List the files of which two tools say different things."), "commands.reidentifying"),
    "formats review resolve": Entry(_("Decide which of two answers holds."), "commands.reidentifying"),
    "formats report": Entry(_("Show which formats are held, and how much of each."), "commands.risking"),
    "formats risk": Entry(_("Show which formats endanger what is held, and why."), "commands.risking"),
    "formats risk accept": Entry(_("Record that a risk is known and borne."), "commands.risking"),
    "formats risk mitigate": Entry(_("Record that something was done about a risk."), "commands.risking"),
    "formats risk reopen": Entry(_("Record that a decision about a risk no longer holds."), "commands.risking"),
    "formats risk import": Entry(_("Take in a table of risks from outside."), "commands.risking"),
    "formats watch": Entry(_("Tell what has changed that endangers formats."), "commands.risking"),
    "agent": Entry(_("Register the people and programs who sign.")),
    "agent add": Entry(_("Register somebody with a public key."), "commands.registering"),
    "agent list": Entry(_("List the agents."), "commands.registering"),
    "agent show": Entry(_("Show an agent, its keys and what it has signed."), "commands.registering"),
    "agent revoke": Entry(_("Revoke the keys of an agent."), "commands.registering"),
    "migrate": Entry(_("Migrate formats by plans that a second person approves.")),
    "migrate pathways": Entry(_("List from which formats into which can be migrated here."), "commands.migrating"),
    "migrate plan": Entry(_("Make a plan: freeze the files, try the pathway on a sample."), "commands.migrating"),
    "migrate list": Entry(_("List the plans."), "commands.migrating"),
    "migrate show": Entry(_("Show a plan, or what is to be signed of it."), "commands.migrating"),
    "migrate approve": Entry(_("Approve a plan that somebody else has made."), "commands.migrating"),
    "migrate run": Entry(_("Execute an approved plan, or go on with it."), "commands.converting"),
    "migrate report": Entry(_("Show what came of a plan, file by file."), "commands.converting"),
    "migrate undo": Entry(_("Withdraw what a plan derived; nothing is destroyed."), "commands.converting"),
    "export": Entry(_("Give a package or a file out, as files, as a bag or as an OCFL object."), "commands.exporting"),
    "compare": Entry(_("Compare a list of checksums from outside with what is kept."), "commands.comparing"),
    "report": Entry(_("Write a report for people: a page or a PDF, with tables beside it."), "commands.reporting"),
    "events": Entry(_("Show what has happened, from the ledger."), "commands.showing"),
    "ledger": Entry(_("Verify the ledger, and care for its key.")),
    "ledger verify": Entry(_("Derive the whole ledger again and tell every contradiction."), "commands.proving"),
    "ledger key": Entry(_("Show the ledger's keys, or confirm that the recovery kit is safe."), "commands.proving"),
    "ledger checkpoint": Entry(_("Sign a checkpoint now and bring it to the stores."), "commands.proving"),
    "ledger prove": Entry(_("Prove that an event is in the ledger, or verify such a proof."), "commands.evidencing"),
    "ledger export": Entry(_("Write a folder of evidence that an auditor verifies offline."), "commands.evidencing"),
    "ledger witness": Entry(_("Have another party countersign our checkpoint."), "commands.witnessing"),
    "ledger timestamp": Entry(_("Have an authority state the time of our checkpoint."), "commands.timestamping"),
    "witness": Entry(_("Keep and countersign the checkpoints of other archives.")),
    "witness init": Entry(_("Make a witness: a folder with a key."), "commands.witnessing"),
    "witness key": Entry(_("Print the public key of a witness."), "commands.witnessing"),
    "witness trust": Entry(_("Say whose ledgers a witness serves, or show them."), "commands.witnessing"),
    "witness serve": Entry(_("Countersign over HTTP."), "commands.witnessing"),
    "witness sign": Entry(_("Countersign by file, where there is no network."), "commands.witnessing"),
    "incident": Entry(_("Show and close incidents: what is wrong, since when, and how it ended.")),
    "incident list": Entry(_("List the open incidents."), "commands.watching"),
    "incident show": Entry(_("Show an incident, what it may come from and what to do."), "commands.watching"),
    "incident close": Entry(_("Close an incident that a person has explained."), "commands.watching"),
    "notify": Entry(_("Try out who is told by mail and webhook.")),
    "notify test": Entry(_("Send a test message and say what became of it."), "commands.watching"),
    "metrics": Entry(_("Print figures for Prometheus."), "commands.watching"),
    "serve": Entry(_("Do all that is due, for ever or once: audits, copies, evidence, reports."), "commands.serving"),
    "rebuild": Entry(_("Make the catalog anew, or a whole repository from one store."), "commands.beginning"),
    "doctor": Entry(_("Examine the repository and say what should be done."), "commands.examining"),
}


def names_below(prefix: str) -> list[str]:
    """Return the last words of the commands directly below ``prefix`` ("" or "store "), in the order of the work."""
    rest = [name.removeprefix(prefix) for name in ENTRIES if name.startswith(prefix)]
    return [name for name in rest if " " not in name]


def attribute_of(name: str) -> str:
    """Return what the command is called in its module."""
    return name.replace(" ", "_") + "_command"
