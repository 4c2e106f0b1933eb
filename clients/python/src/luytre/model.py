"""Decides how indicators, verdicts and deliveries look in Python."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from luytre import v1
from luytre.errors import HubError, Misuse, ProtocolError

_HASHES = frozenset(v1.FileHashes.DESCRIPTOR.fields_by_name)


class Tlp(enum.Enum):
    """A label of TLP 2.0."""

    CLEAR = v1.TLP_CLEAR
    GREEN = v1.TLP_GREEN
    AMBER = v1.TLP_AMBER
    AMBER_STRICT = v1.TLP_AMBER_STRICT
    RED = v1.TLP_RED


class Kind(enum.Enum):
    """What an event means for its receiver; `docs/subscribing.md` says what to do about each."""

    NEW = v1.EVENT_KIND_NEW
    UPDATE = v1.EVENT_KIND_UPDATE
    WITHDRAWN = v1.EVENT_KIND_WITHDRAWN
    REVOKED = v1.EVENT_KIND_REVOKED
    EXPIRED = v1.EVENT_KIND_EXPIRED
    SIGHTED = v1.EVENT_KIND_SIGHTED
    COLLISION = v1.EVENT_KIND_COLLISION
    REPUBLICATION = v1.EVENT_KIND_REPUBLICATION
    HELD = v1.EVENT_KIND_HELD
    CONTAINED = v1.EVENT_KIND_CONTAINED

    @property
    def ends(self) -> bool:
        """Whether the indicator is to be dropped."""
        return self in (Kind.WITHDRAWN, Kind.REVOKED, Kind.EXPIRED)


class Start(enum.Enum):
    """Where a subscription can start without a token."""

    #: Everything that is kept, then what comes.
    EARLIEST = v1.START_POSITION_EARLIEST
    #: Only what comes.
    LATEST = v1.START_POSITION_LATEST
    #: What stands now, then what comes.
    CURRENT_STATE = v1.START_POSITION_CURRENT_STATE
    #: Where the named subscription stands.
    CURSOR = v1.START_POSITION_UNSPECIFIED


@dataclass(frozen=True)
class Event:
    """Something that happened, and what it means for this subscriber."""

    kind: Kind
    message: v1.Event

    @property
    def id(self) -> bytes:
        """16 bytes, the same over every repetition."""
        return self.message.event_id

    @property
    def indicator(self) -> v1.Indicator | None:
        """The indicator as the event left it; of a withdrawn or recalled one its name only."""
        return self.message.indicator if self.message.HasField("indicator") else None


@dataclass(frozen=True)
class Events:
    """Events in order. Without any the token alone advanced: store it the same way."""

    events: tuple[Event, ...]
    token: bytes


@dataclass(frozen=True)
class StateBegin:
    """The current state begins: collect what follows in a fresh set."""

    token: bytes


@dataclass(frozen=True)
class StateEnd:
    """The current state is complete: the fresh set replaces the old one as a whole."""

    token: bytes


@dataclass(frozen=True)
class Recalls:
    """What ended during an absence, names only: stop using it at once. Nothing to confirm."""

    events: tuple[Event, ...]


Delivery = Events | StateBegin | StateEnd | Recalls


@dataclass(frozen=True)
class Verdict:
    """What became of one draft."""

    #: Its place in the order of the drafts, from 0 on.
    index: int
    #: The draft.
    draft: v1.IndicatorDraft
    #: What is now stored; None if it was refused.
    published: v1.PublishedIndicator | None
    #: Why nothing was stored, not raised; None if it was published.
    error: HubError | None


class Relation(enum.Enum):
    """How an assertion is about a value that was looked up.

    The host is that of a URL, of an endpoint or of an e-mail address.
    """

    #: It is about this very value.
    EXACT = v1.LOOKUP_RELATION_EXACT
    #: It is about a network that contains the address or the network.
    CONTAINING_NETWORK = v1.LOOKUP_RELATION_CONTAINING_NETWORK
    #: It is about a domain above the domain, below its public suffix.
    PARENT_DOMAIN = v1.LOOKUP_RELATION_PARENT_DOMAIN
    #: It is about the host.
    HOST = v1.LOOKUP_RELATION_HOST
    #: It is about a network that contains the host.
    HOST_NETWORK = v1.LOOKUP_RELATION_HOST_NETWORK
    #: It is about a domain above the host.
    HOST_PARENT_DOMAIN = v1.LOOKUP_RELATION_HOST_PARENT_DOMAIN
    #: It is about the host and the port of the URL.
    ENDPOINT = v1.LOOKUP_RELATION_ENDPOINT
    #: In a way that this client does not know; update it.
    OTHER = -1


@dataclass(frozen=True)
class Match:
    """One assertion about a value that was looked up."""

    #: Resource name, `indicators/{indicator}`.
    name: str
    #: Resource name of the owner; empty where the source is masked and the caller is not told it.
    owner: str
    #: Where the indicator stands.
    state: v1.IndicatorState
    #: How it is about the value.
    relation: Relation
    #: What it is about, where that is not the value itself; else None.
    matched: v1.Observable | None


@dataclass(frozen=True)
class Found:
    """What the hub knows of a value."""

    #: As it was asked for.
    value: v1.Observable
    #: Assertions that the caller may see, revoked ones included: exact ones, then what is closest.
    matches: tuple[Match, ...]
    #: Whether there are more matches than the hub tells.
    truncated: bool
    #: Why the value could not be read, not raised.
    error: HubError | None


def observable(value: str, kind: str = "text") -> v1.Observable:
    """Make an observable; the hub detects the kind of a `text`.

    `kind` is one that `luytre` and the hub's documents name, such as `domain`, `file-name` or `sha256`.
    """
    kind = kind.replace("-", "_")
    if kind in _HASHES:
        return v1.Observable(file=v1.FileHashes(**{kind: value}))
    field = v1.Observable.DESCRIPTOR.fields_by_name.get(kind)
    if field is None or field.type != field.TYPE_STRING:
        raise Misuse(f"{kind!r} is not a kind of observable that is one text")
    return v1.Observable(**{kind: value})  # type: ignore[arg-type]


def values(of: v1.Observable) -> list[tuple[str, str]]:
    """Return an observable as pairs of kind and text; more than one only for a file of several hashes."""
    kind = of.WhichOneof("value")
    if kind is None:
        return []
    held = getattr(of, kind)
    if isinstance(held, str):
        return [(kind, held)]
    return [(field.name, str(text)) for field, text in held.ListFields()]


def draft(
    value: str | v1.Observable,
    tlp: Tlp,
    *,
    kind: str = "text",
    labels: Iterable[str] = (),
    confidence: int | None = None,
    description: str = "",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    organisations: Iterable[str] = (),
    groups: Iterable[str] = (),
    persons: Iterable[str] = (),
    caveats: v1.Caveats | None = None,
    action: v1.RecommendedAction = v1.RECOMMENDED_ACTION_UNSPECIFIED,
    role: v1.IndicatorRole = v1.INDICATOR_ROLE_UNSPECIFIED,
    family: str = "",
    campaign: str = "",
    techniques: Iterable[str] = (),
) -> v1.IndicatorDraft:
    """Make a draft of the fields that most need; set others on the result.

    There is no default for `tlp`: nothing is shared by accident. Organisations and groups are slugs or
    resource names; persons are SPIFFE identities. A victim's role goes with no action to block or isolate.
    Techniques are those of MITRE ATT&CK, such as `T1566` or `T1566.001`.
    """
    made = v1.IndicatorDraft(
        observable=observable(value, kind) if isinstance(value, str) else value,
        marking=v1.Marking(
            tlp=tlp.value,
            organisations=[_resource("organisations", name) for name in organisations],
            groups=[_resource("groups", name) for name in groups],
            principals=list(persons),
            caveats=caveats,
        ),
        labels=list(labels),
        confidence=confidence,
        description=description,
        recommended_action=action,
        role=role,
        family=family,
        campaign=campaign,
        attack_techniques=list(techniques),
    )
    for name, moment in (("valid_from", valid_from), ("valid_until", valid_until)):
        if moment is not None:
            getattr(made, name).CopyFrom(timestamp(moment))
    return made


def timestamp(moment: datetime) -> Timestamp:
    """Make the contract's form of a moment, which must say its time zone."""
    if moment.tzinfo is None:
        raise Misuse("a moment needs a time zone, such as datetime.now(timezone.utc)")
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def match(found: v1.LookupMatch) -> Match:
    """Read a match; what does not say how it matched comes from an earlier hub, and is exact."""
    try:
        relation = Relation(found.relation or v1.LOOKUP_RELATION_EXACT)
    except ValueError:
        relation = Relation.OTHER
    matched = found.matched if found.HasField("matched") else None
    return Match(found.name, found.owner, found.state, relation, matched)


def pair(events: Sequence[v1.Event], kinds: Sequence[int]) -> tuple[Event, ...]:
    """Join events with their kinds; refuse what does not fit together."""
    if not events:
        raise ProtocolError("a batch holds no event")
    if kinds and len(kinds) != len(events):
        raise ProtocolError(f"{len(kinds)} kinds for {len(events)} events")
    if not kinds:
        return tuple(Event(Kind.NEW, event) for event in events)
    try:
        return tuple(Event(Kind(kind), event) for event, kind in zip(events, kinds, strict=True))
    except ValueError:
        raise ProtocolError(
            f"of the kinds {sorted(set(kinds))} one is not known; update this client"
        ) from None


def disclose(events: Sequence[v1.Event], disclosures: Iterable[v1.Disclosure]) -> None:
    """Put into the events what only some of their readers are told."""
    for told in disclosures:
        event = events[told.index] if told.index < len(events) else None
        subject = event.WhichOneof("subject") if event is not None else None
        if event is None or subject not in ("indicator", "sighting"):
            raise ProtocolError("a disclosure belongs to no event of its batch")
        if told.republication_of:
            if subject != "indicator":
                raise ProtocolError("only an indicator is a republication")
            event.indicator.republication_of = told.republication_of
        if not told.owner:
            continue
        if subject == "indicator":
            event.indicator.owner = told.owner
            marking = event.indicator.marking
        else:
            event.sighting.reporter = told.owner
            if not event.sighting.HasField("marking"):
                continue
            marking = event.sighting.marking
        for field, names in (
            (marking.organisations, told.organisations),
            (marking.groups, told.groups),
            (marking.principals, told.principals),
        ):
            field[:] = names


def _resource(collection: str, name: str) -> str:
    return name if "/" in name else f"{collection}/{name}"
