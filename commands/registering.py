"""``agent``: the people and programs who sign, known by their public keys."""

from typing import TYPE_CHECKING

import click

from commands.printing import note, say, say_table, write_json, write_json_list
from commands.shaping import command, json_option
from commands.surroundings import Call
from commands.wording import _, harmless, time_text
from storage_backends.errors import marked

if TYPE_CHECKING:
    from preservation.agents import Agent

KINDS = {"person": marked("person"), "program": marked("program")}
REASONS = ("left", "lost", "replaced", "misused", "other")
SHOWN = 16
"""Digits of a key's identifier that people are shown."""


@command(
    "agent add",
    details=_(
        "FILE is a public Ed25519 key as PEM; the private one stays with its owner: 'openssl genpkey -algorithm "
        "ed25519 -out key.pem' makes one, 'openssl pkey -in key.pem -pubout -out key.pub.pem' takes out its public "
        "half. The ledger keeps an identifier and the key, the name lies beside it. A key belongs to one agent for "
        "ever; a known NAME gets a further key."
    ),
    examples=("mocban -C archive agent add 'Nguyễn Thị An' --key an.pub.pem",),
)
@click.argument("name")
@click.option("--key", metavar="FILE", required=True, help=_("The agent's public key, as PEM."))
@click.option("--program", is_flag=True, help=_("It is a program, not a person."))
@json_option
@click.pass_obj
def agent_add_command(call: Call, name: str, *, key: str, program: bool, as_json: bool) -> None:
    """Register an agent."""
    from preservation.agents import read_public_key, register  # noqa: PLC0415 - help does without it

    public = read_public_key(key)
    agent = register(call.writing(), name, public, kind="program" if program else "person")
    if as_json:
        write_json({**_json(agent), "key_id": public.key_id})
        return
    say(
        marked("Agent {agent} ({name}) is registered with the key {key}"),
        agent=agent.identity,
        name=agent.shown,
        key=public.key_id[:SHOWN],
    )


def _json(agent: "Agent") -> dict[str, object]:
    return {
        "agent": agent.identity,
        "name": agent.name,
        "kind": agent.row.kind,
        "registered": agent.row.registered,
        "keys": [
            {
                "key_id": key.key_id,
                "public": key.public,
                "registered": key.registered,
                "revoked": key.revoked or None,
                "reason": key.reason,
            }
            for key in agent.keys
        ],
    }


@command("agent list", examples=("mocban -C archive agent list", "mocban -C archive agent list --json"))
@json_option
@click.pass_obj
def agent_list_command(call: Call, *, as_json: bool) -> None:
    """List the agents."""
    from preservation.agents import agents  # noqa: PLC0415 - help does without it

    repository = call.reading()
    with repository.reading() as view:
        found = agents(repository, view)
    if as_json:
        write_json_list(_json(agent) for agent in found)
        return
    if not found:
        note(marked("No agent is registered"))
        return
    head = (_("NAME"), _("KIND"), _("KEYS IN USE"), _("REVOKED"), _("REGISTERED"), _("AGENT"))
    lines = [
        (
            harmless(agent.shown),
            _(KINDS.get(agent.row.kind, agent.row.kind)),
            " ".join(key.key_id[:SHOWN] for key in agent.keys_in_use) or "-",
            str(len(agent.keys) - len(agent.keys_in_use)),
            time_text(agent.row.registered),
            agent.identity,
        )
        for agent in found
    ]
    say_table([head, *lines], right=(3,))


@command(
    "agent show",
    details=_("NAME is a name, an identifier, or the beginning of one."),
    examples=("mocban -C archive agent show 'Nguyễn Thị An'",),
)
@click.argument("name")
@json_option
@click.pass_obj
def agent_show_command(call: Call, name: str, *, as_json: bool) -> None:
    """Show an agent."""
    from preservation.agents import agent_named  # noqa: PLC0415 - help does without it
    from preservation.catalog import rows  # noqa: PLC0415 - the same
    from preservation.catalog.plans import PlanRow  # noqa: PLC0415 - the same

    repository = call.reading()
    with repository.reading() as view:
        agent = agent_named(repository, view, name)
        plans = list(rows.every(view, PlanRow))
    made = [row.plan for row in plans if row.author == agent.identity]
    approved = [row.plan for row in plans if row.approver == agent.identity]
    if as_json:
        write_json({**_json(agent), "plans": made, "approved": approved})
        return
    say(
        marked("Agent {agent}: {name}, {kind}, registered {when}"),
        agent=agent.identity,
        name=agent.shown,
        kind=_(KINDS.get(agent.row.kind, agent.row.kind)),
        when=time_text(agent.row.registered),
    )
    for key in agent.keys:
        if key.revoked:
            say(
                marked("  key {key}, revoked {when} ({code})"),
                key=key.key_id,
                when=time_text(key.revoked),
                code=key.reason,
            )
        else:
            say(marked("  key {key}, in use since {when}"), key=key.key_id, when=time_text(key.registered))
    for plan in made:
        say(marked("  made the plan {plan}"), plan=plan)
    for plan in approved:
        say(marked("  approved the plan {plan}"), plan=plan)


@command(
    "agent revoke",
    details=_(
        "From now on the keys sign nothing, and plans that they have signed are not executed any more; what was done "
        "stays. A revoked key is never registered again."
    ),
    examples=("mocban -C archive agent revoke 'Nguyễn Thị An' --reason left",),
)
@click.argument("name")
@click.option("--key-id", metavar="ID", default="", help=_("Only the key that begins so; without it, all in use."))
@click.option(
    "--reason", type=click.Choice(REASONS), default="other", show_default=True, help=_("Why; the ledger keeps this.")
)
@json_option
@click.pass_obj
def agent_revoke_command(call: Call, name: str, *, key_id: str, reason: str, as_json: bool) -> None:
    """Revoke keys."""
    from preservation.agents import agent_named, revoke  # noqa: PLC0415 - help does without it

    repository = call.writing()
    with repository.reading() as view:
        agent = agent_named(repository, view, name)
    revoked = revoke(repository, agent, key=key_id, reason=reason)
    if as_json:
        write_json({"agent": agent.identity, "revoked": revoked})
        return
    for key in revoked:
        say(marked("The key {key} of {agent} is revoked"), key=key[:SHOWN], agent=agent.shown)
