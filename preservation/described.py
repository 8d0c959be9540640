"""Which descriptive records the catalog names: small files under their digests, beside the ledger and on stores."""

from collections.abc import Iterator

from preservation.catalog import rows
from preservation.catalog.agents import AgentRow
from preservation.catalog.catalog import View
from preservation.catalog.formats import RiskRow
from preservation.catalog.plans import PlanRow
from preservation.catalog.rows import FondsRow


def described_by(view: View) -> Iterator[str]:
    """Yield the digests of the records of fonds and agents, of the files of migration plans, of notes on risks."""
    for fonds in rows.every(view, FondsRow):
        yield fonds.description
    for agent in rows.every(view, AgentRow):
        yield agent.description
    for plan in rows.every(view, PlanRow):
        yield plan.description
    for risk in rows.every(view, RiskRow):
        if risk.note:
            yield risk.note
