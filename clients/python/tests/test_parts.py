"""Promises of the parts that need no hub."""

from datetime import datetime

import pytest

import luytre
from luytre import errors, model, v1
from luytre._ledger import MAX_UNCONFIRMED, Ledger


def test_the_window_bounds_what_is_under_way_and_unconfirmed() -> None:
    ledger = Ledger(10, None)
    assert ledger.open() == 10
    assert ledger.hand(6, b"a")
    assert ledger.replenish() == 0
    ledger.confirm(b"a")
    assert ledger.replenish() == 6
    with pytest.raises(errors.ProtocolError):
        ledger.hand(11, b"b")


def test_a_match_says_how_it_matched_whatever_the_release_of_the_hub() -> None:
    relations = [0, *(relation.value for relation in luytre.Relation if relation.value > 0), 99]
    read = [model.match(v1.LookupMatch(relation=number)).relation for number in relations]  # type: ignore[arg-type]
    assert read[0] is luytre.Relation.EXACT
    assert read[-1] is luytre.Relation.OTHER
    assert [relation.value for relation in read[1:-1]] == relations[1:-1]
    known = v1.LookupRelation.DESCRIPTOR.values_by_number
    assert set(relations[:-1]) == set(known)


def test_who_never_confirms_is_told_to() -> None:
    ledger = Ledger(2, None)
    ledger.open()
    ledger.hand(2, b"a")
    with pytest.raises(errors.Misuse):
        ledger.may_hand()
    idle = Ledger(2, None)
    idle.open()
    for n in range(MAX_UNCONFIRMED):
        idle.hand(0, b"%d" % n)
    with pytest.raises(errors.Misuse):
        idle.may_hand()


def test_a_new_stream_goes_on_after_what_was_handed_out() -> None:
    ledger = Ledger(10, b"stored")
    assert ledger.resume == b"stored"
    ledger.open()
    ledger.hand(4, b"a")
    assert ledger.open() == 6
    assert ledger.resume == b"a"
    # The token came on the stream before: the hub does not know it on this one.
    assert not ledger.confirm(b"a")
    ledger.hand(1, b"b")
    assert ledger.confirm(b"b")
    with pytest.raises(errors.Misuse):
        ledger.confirm(b"b")


def test_a_heartbeat_that_tells_nothing_new_is_not_handed_out() -> None:
    ledger = Ledger(10, b"a")
    ledger.open()
    assert not ledger.hand(0, b"a")
    assert ledger.hand(0, b"b")


def test_a_draft_needs_a_label_and_names_in_full() -> None:
    made = luytre.draft("a" * 64, luytre.Tlp.AMBER, kind="sha256", organisations=["ca-hanoi", "groups/x"])
    assert made.observable.file.sha256 == "a" * 64
    assert list(made.marking.organisations) == ["organisations/ca-hanoi", "groups/x"]
    assert not made.HasField("confidence")
    victim = luytre.draft(
        "a.example",
        luytre.Tlp.GREEN,
        role=v1.INDICATOR_ROLE_VICTIM,
        family="A",
        campaign="B",
        techniques=("T1566",),
    )
    assert (victim.role, victim.family, victim.campaign) == (v1.INDICATOR_ROLE_VICTIM, "A", "B")
    assert list(victim.attack_techniques) == ["T1566"]
    with pytest.raises(errors.Misuse):
        luytre.draft("x", luytre.Tlp.GREEN, kind="file")
    with pytest.raises(errors.Misuse):
        luytre.draft("x", luytre.Tlp.GREEN, valid_until=datetime(2026, 1, 1))


def test_an_observable_is_read_back_by_kind() -> None:
    assert luytre.values(luytre.observable("a.example", "domain")) == [("domain", "a.example")]
    assert luytre.observable("970436:0011001234567", "bank-account").bank_account == "970436:0011001234567"
    file = v1.Observable(file=v1.FileHashes(md5="m", sha1="s"))
    assert luytre.values(file) == [("md5", "m"), ("sha1", "s")]
    assert luytre.values(v1.Observable()) == []


def test_events_without_kinds_are_new_and_unknown_kinds_are_refused() -> None:
    event = v1.Event(indicator=v1.Indicator(name="indicators/1"))
    assert model.pair([event], [])[0].kind is luytre.Kind.NEW
    assert model.pair([event], [v1.EVENT_KIND_REVOKED])[0].kind is luytre.Kind.REVOKED
    for events, kinds in (([], []), ([event], [1, 1]), ([event], [0]), ([event], [99])):
        with pytest.raises(errors.ProtocolError):
            model.pair(events, kinds)


def test_what_is_disclosed_goes_into_its_event() -> None:
    masked = v1.Event(indicator=v1.Indicator(marking=v1.Marking(tlp=v1.TLP_AMBER)))
    told = v1.Disclosure(index=0, owner="organisations/a", organisations=["organisations/b"])
    model.disclose([masked], [told, v1.Disclosure(index=0, republication_of="indicators/9")])
    assert masked.indicator.owner == "organisations/a"
    assert list(masked.indicator.marking.organisations) == ["organisations/b"]
    assert masked.indicator.republication_of == "indicators/9"
    sighted = v1.Event(sighting=v1.Sighting())
    model.disclose([sighted], [told])
    assert sighted.sighting.reporter == "organisations/a"
    assert not sighted.sighting.HasField("marking")
    for wrong in (v1.Disclosure(index=2), v1.Disclosure(index=1, republication_of="indicators/9")):
        with pytest.raises(errors.ProtocolError):
            model.disclose([masked, sighted], [wrong])
