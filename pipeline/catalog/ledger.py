"""The consent ledger: append-only, hash-chained, idempotent by event id.

A chain proves order only to somebody who holds an earlier head, so the head goes into every signed statement.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine, Select, bindparam, insert, or_, select, text

from pipeline.catalog.database import reading
from pipeline.catalog.tables import SUBJECT_KEY, consent_events
from pipeline.core.collection import no_collection
from pipeline.core.digests import json_digest, sha256

_BATCH = 20_000  # rows that a long read holds at a time
_CHUNK = 500  # bound parameters of one look-up, well under every database's limit


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One statement about consent. Moments are RFC 3339 in UTC (core/moments.py); "" for `effective_until` is open.

    `recorded_at` is when we knew, `effective_from` and `effective_until` bound when it holds: [from, until).
    """

    event_id: str
    recorded_at: str
    effective_from: str
    effective_until: str
    actor: str  # who speaks
    subject_type: str  # asset | holder | person | dataset | event, or "" when it could not be read
    subject_id: str
    action: str  # grant | restrict | withdraw | expire | unreadable
    uses: str  # pipe-separated; * is every use but likeness
    commercial: str  # yes | no | any
    territory: str  # pipe-separated country codes, EU, or *
    overrides_signals: str  # yes | no
    evidence: str
    note: str


@dataclass(frozen=True)
class Appended:
    """What an import added; `contradicting` came under an id that the ledger has with other content."""

    imported: int
    already_known: int
    contradicting: tuple[ConsentEvent, ...] = ()


@dataclass(frozen=True)
class ChainCheck:
    """Whether every event still hashes to its link; `first_broken` is the event id of the first that does not."""

    events: int
    intact: bool
    first_broken: str


_CODED = pa.dictionary(pa.int32(), pa.string())
_NAMES = tuple(field.name for field in fields(ConsentEvent))
_values: Callable[[ConsentEvent], tuple[str, ...]] = attrgetter(*_NAMES)
_COLUMNS = [consent_events.c[name] for name in _NAMES]
# few texts of a column are distinct, but for ids and subjects
_KINDS = {name: pa.string() if name in ("event_id", "subject_id") else _CODED for name in _NAMES}
_SCHEMA = pa.schema(_KINDS.items())
_ABOUT = (  # made once: making a query takes longer than asking it
    select(*_COLUMNS)
    .where(consent_events.c.recorded_at <= bindparam("known_at"))
    .where(consent_events.c.subject_key.in_(bindparam("keys", expanding=True)))
    .order_by(consent_events.c.recorded_at, consent_events.c.seq)
)


def append_events(catalog: Engine, events: Sequence[ConsentEvent]) -> Appended:
    """Append events in the given order, in one transaction; an event that is already known is passed over.

    An event is known when its id and its content are; the moment of recording is the ledger's own and the first
    one stands. What comes under a known id with other content gets an id of its own, and is for a person to read.
    """
    with catalog.begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite is locked by `begin immediate`
            connection.execute(text("lock table consent_events in exclusive mode"))
        known = _known(connection, events)
        seq, prev = _last(connection)
        rows, contradicting = [], []
        for event in events:
            if event.event_id in known and not _is_same(known[event.event_id], event):
                event = _beside(known[event.event_id], event)
                known |= _known(connection, [event])
                contradicting.append(event)
            if event.event_id in known:
                continue
            seq, link = seq + 1, event_hash(event, prev)
            columns = event_columns(event) | {"subject_key": subject_key(event.subject_id)}
            rows.append({"seq": seq, **columns, "prev": prev, "hash": link})
            known[event.event_id], prev = event, link
        if rows:
            connection.execute(insert(consent_events), rows)
    return Appended(len(rows), len(events) - len(rows), tuple(contradicting))


def read_events(catalog: Engine, known_at: str) -> list[ConsentEvent]:
    """Every event recorded at or before `known_at`, in recorded order."""
    with reading(catalog) as connection:
        return [ConsentEvent(*row) for row in connection.execute(_known_by(known_at))]


def read_event_table(catalog: Engine, known_at: str) -> pa.Table:
    """The same events by column, most of them dictionary-encoded, in the chain's order: for millions of events."""
    query = _known_by(known_at).order_by(None).order_by(consent_events.c.seq).execution_options(yield_per=_BATCH)
    with reading(catalog) as connection, no_collection():
        batches = [_batch(rows) for rows in connection.execute(query).partitions()]
    return pa.Table.from_batches(batches, _SCHEMA).unify_dictionaries().combine_chunks()


def read_events_about(catalog: Engine, subjects: Iterable[str], known_at: str) -> list[ConsentEvent]:
    """Events recorded at or before `known_at` whose subject is one of these, upper or lower case, or left empty."""
    keys = sorted({subject_key(subject) for subject in subjects} | {""})
    events: list[ConsentEvent] = []
    with reading(catalog) as connection:
        for start in range(0, len(keys), _CHUNK):
            asked = {"known_at": known_at, "keys": keys[start : start + _CHUNK]}
            events += [ConsentEvent(*row) for row in connection.execute(_ABOUT, asked)]
    return sorted(events, key=lambda event: event.recorded_at)


def event_with_id(catalog: Engine, identifier: str) -> ConsentEvent | None:
    """The event with an id, None when there is none."""
    with reading(catalog) as connection:
        row = connection.execute(select(*_COLUMNS).where(consent_events.c.event_id == identifier)).first()
    return ConsentEvent(*row) if row else None


def event_table(events: Iterable[ConsentEvent]) -> pa.Table:
    """Events by column, as `read_event_table` gives them."""
    return pa.Table.from_batches([_batch([_values(event) for event in events])], _SCHEMA)


def subject_key(subject_id: str) -> str:
    """What subjects are looked up by: names are the same whatever their case and outer spaces."""
    return subject_id.strip().casefold()[:SUBJECT_KEY]


def ledger_head(catalog: Engine, known_at: str) -> str:
    """Hash of the last event of the chain that was recorded at or before `known_at`; "" when there is none."""
    query = (
        select(consent_events.c.hash)
        .where(consent_events.c.recorded_at <= known_at)
        .order_by(consent_events.c.seq.desc())
        .limit(1)
    )
    with catalog.connect() as connection:
        return connection.execute(query).scalar() or ""


def changed_between(catalog: Engine, earlier: str, later: str) -> bool:
    """True when an event was recorded, took effect or ended in (earlier, later]: a decision may be another one."""
    moments = (consent_events.c.recorded_at, consent_events.c.effective_from, consent_events.c.effective_until)
    within = or_(*((moment > earlier) & (moment <= later) for moment in moments))
    with catalog.connect() as connection:
        return connection.execute(select(consent_events.c.seq).where(within).limit(1)).first() is not None


def verify_chain(catalog: Engine) -> ChainCheck:
    """Recompute the whole chain."""
    count, prev = 0, ""
    with reading(catalog) as connection:
        for *values, key, stored_prev, stored_hash in _chain(connection):
            event = ConsentEvent(*values)
            sound = stored_prev == prev and stored_hash == event_hash(event, prev)
            if not sound or key != subject_key(event.subject_id):
                return ChainCheck(events=count, intact=False, first_broken=event.event_id)
            count, prev = count + 1, stored_hash
    return ChainCheck(events=count, intact=True, first_broken="")


def event_hash(event: ConsentEvent, prev: str) -> str:
    """SHA-256 over RFC 8785 canonical JSON of the event and the hash before it.

    For an object of strings under ASCII keys the standard encoder writes exactly RFC 8785, at ten times the speed.
    """
    content = json.dumps(
        {**event_columns(event), "prev": prev}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return sha256(content.encode())


def event_columns(event: ConsentEvent) -> dict[str, str]:
    """The event's columns; dataclasses.asdict copies deeply, which strings do not need."""
    return dict(zip(_NAMES, _values(event), strict=True))


def _chain(connection: Connection) -> Iterator[Any]:
    links = consent_events.c.subject_key, consent_events.c.prev, consent_events.c.hash
    query = select(*_COLUMNS, *links).order_by(consent_events.c.seq)
    yield from connection.execute(query.execution_options(yield_per=_BATCH))


def _known_by(known_at: str) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .where(consent_events.c.recorded_at <= known_at)
        .order_by(consent_events.c.recorded_at, consent_events.c.seq)
    )


def _batch(rows: Sequence[Sequence[str]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(_NAMES)
    arrays = [_array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _array(values: Sequence[str], kind: pa.DataType) -> pa.Array:
    texts = pa.array(values, pa.string())
    return texts.dictionary_encode() if kind == _CODED else texts


def _last(connection: Connection) -> tuple[int, str]:
    query = select(consent_events.c.seq, consent_events.c.hash).order_by(consent_events.c.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return (row.seq, row.hash) if row else (0, "")


def _known(connection: Connection, events: Sequence[ConsentEvent]) -> dict[str, ConsentEvent]:
    identifiers = sorted({event.event_id for event in events})
    known: dict[str, ConsentEvent] = {}
    for start in range(0, len(identifiers), _CHUNK):
        chunk = identifiers[start : start + _CHUNK]
        for row in connection.execute(select(*_COLUMNS).where(consent_events.c.event_id.in_(chunk))):
            known[row.event_id] = ConsentEvent(*row)
    return known


def _is_same(stored: ConsentEvent, event: ConsentEvent) -> bool:
    """The same statement may be imported on another day: only what defaults to that day may differ."""
    return _statement(stored) == _statement(event) or _statement(stored, dated=True) == _statement(event, dated=True)


def _statement(event: ConsentEvent, dated: bool = False) -> ConsentEvent:
    """An event without the moment of recording; not `dated`, without what defaults to it either."""
    defaulted = event.effective_from == event.recorded_at and not dated
    return replace(event, recorded_at="", effective_from="" if defaulted else event.effective_from)


def _beside(stored: ConsentEvent, event: ConsentEvent) -> ConsentEvent:
    """A statement that came under the id of another one; unreadable, unless it puts right one that was."""
    identifier = f"{event.event_id}#{json_digest(event_columns(_statement(event)))[:16]}"
    if "unreadable" in (stored.action, event.action):
        return replace(event, event_id=identifier)
    why = f"event_id: {event.event_id!r} is already in the ledger with other content"
    note = json.dumps({"row": event_columns(event), "why": why}, ensure_ascii=False, sort_keys=True)
    scope = {"uses": "*", "commercial": "any", "territory": "*", "overrides_signals": "no"}
    since = {"effective_from": event.recorded_at, "effective_until": ""}
    return replace(event, event_id=identifier, action="unreadable", note=note, **scope, **since)
