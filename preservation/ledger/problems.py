"""What is wrong with a ledger, as data, and what can be wrong with records by themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preservation.ledger.errors import RecordError
from preservation.ledger.events import Record, parse_record
from preservation.ledger.segments import columns_of
from storage_backends.errors import Phrase


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """One thing that is wrong: a code, the file, and what was seen."""

    code: str
    where: str
    detail: str


def check_records(
    data: Sequence[bytes], columns: dict[str, list[object]], name: str, seq: int
) -> Iterator[LedgerProblem]:
    """Yield what is wrong with the records ``data`` of the file ``name``, the first of which is event ``seq``.

    ``columns`` are the typed columns as ``read_rows`` gives them; none are compared if it is empty.
    """
    records: list[Record] = []
    for position, record in enumerate(data, seq):
        try:
            records.append(parse_record(record))
        except RecordError as error:
            yield LedgerProblem(
                "record_invalid", name, Phrase("event {position}: {reason}", position=position, reason=str(error))
            )
            return
        if records[-1].seq != position:
            yield LedgerProblem(
                "record_misplaced",
                name,
                Phrase("event {position} says that it is {found}", position=position, found=records[-1].seq),
            )
    expected = columns_of(records) if columns else {}
    for column, values in columns.items():
        if values != expected[column]:
            wrong = next(i for i, pair in enumerate(zip(values, expected[column], strict=True)) if pair[0] != pair[1])
            yield LedgerProblem(
                "column_differs",
                name,
                Phrase("event {event}: {column} is not what the record says", event=seq + wrong, column=column),
            )
