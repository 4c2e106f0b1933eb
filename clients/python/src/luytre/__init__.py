"""A client of Lũy Tre, a hub for sharing cyber-threat indicators.

`luytre.Client` waits for its answers, `luytre.aio.Client` is for asyncio; both have the same calls.
`luytre.v1` holds the messages of the public contract.
"""

from luytre import aio, v1
from luytre._retry import Backoff
from luytre._set import Change, IndicatorSet
from luytre.blocking import Client, Subscription
from luytre.errors import Error, HubError
from luytre.model import (
    Delivery,
    Event,
    Events,
    Found,
    Kind,
    Match,
    Recalls,
    Relation,
    Start,
    StateBegin,
    StateEnd,
    Tlp,
    Verdict,
    draft,
    observable,
    values,
)

__all__ = [
    "Backoff",
    "Change",
    "Client",
    "Delivery",
    "Error",
    "Event",
    "Events",
    "Found",
    "HubError",
    "IndicatorSet",
    "Kind",
    "Match",
    "Recalls",
    "Relation",
    "Start",
    "StateBegin",
    "StateEnd",
    "Subscription",
    "Tlp",
    "Verdict",
    "aio",
    "draft",
    "observable",
    "v1",
    "values",
]
