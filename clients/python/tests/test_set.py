"""Promises of the set that is kept on disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import luytre
from luytre import Events, IndicatorSet, Kind, Recalls, StateBegin, StateEnd, errors, v1


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[IndicatorSet]:
    with IndicatorSet(tmp_path / "kept.db") as made:
        yield made


def event(kind: Kind, name: str, version: int = 0) -> luytre.Event:
    return luytre.Event(kind, v1.Event(indicator=v1.Indicator(name=name, version=version)))


def events(token: bytes, *these: luytre.Event) -> Events:
    return Events(these, token)


def held(kept: IndicatorSet) -> dict[str, int]:
    return {indicator.name: indicator.version for indicator in kept}


def news(changes: list[luytre.Change]) -> list[tuple[str, str]]:
    return [(change.what, change.indicator.name) for change in changes]


def test_a_set_follows_the_events_and_tells_what_changed(kept: IndicatorSet) -> None:
    first = kept.apply(events(b"1", event(Kind.NEW, "a", 1), event(Kind.NEW, "b", 2)))
    assert news(first) == [("added", "a"), ("added", "b")]
    assert news(kept.apply(events(b"2", event(Kind.UPDATE, "a", 3)))) == [("changed", "a")]
    assert news(kept.apply(events(b"3", event(Kind.REVOKED, "b", 4)))) == [("removed", "b")]
    assert held(kept) == {"a": 3}
    assert "a" in kept
    assert "b" not in kept
    assert kept.token == b"3"


def test_what_comes_again_changes_nothing(kept: IndicatorSet) -> None:
    kept.apply(events(b"1", event(Kind.NEW, "a", 3)))
    assert kept.apply(events(b"1", event(Kind.NEW, "a", 3))) == []
    # The log after a scan tells of what was before it.
    again = events(b"2", event(Kind.NEW, "a", 1), event(Kind.REVOKED, "a", 2))
    assert kept.apply(again) == []
    assert held(kept) == {"a": 3}
    assert news(kept.apply(events(b"3", event(Kind.WITHDRAWN, "a")))) == [("removed", "a")]
    assert kept.apply(events(b"4", event(Kind.WITHDRAWN, "a"))) == []


def test_a_scan_gathers_beside_the_set_in_use_and_replaces_it_whole(kept: IndicatorSet) -> None:
    kept.apply(events(b"1", event(Kind.NEW, "a", 1), event(Kind.NEW, "b", 2)))
    kept.apply(StateBegin(b"2"))
    assert kept.apply(events(b"3", event(Kind.NEW, "b", 5), event(Kind.NEW, "c", 4))) == []
    assert kept.apply(events(b"4", event(Kind.NEW, "b", 2))) == []
    assert held(kept) == {"a": 1, "b": 2}
    assert not kept.is_complete
    changes = kept.apply(StateEnd(b"5"))
    assert sorted(news(changes)) == [("added", "c"), ("changed", "b"), ("removed", "a")]
    assert held(kept) == {"b": 5, "c": 4}
    assert kept.is_complete
    assert kept.token == b"5"


def test_a_second_beginning_throws_away_what_the_first_gathered(kept: IndicatorSet) -> None:
    kept.apply(StateBegin(b"1"))
    kept.apply(events(b"2", event(Kind.NEW, "gone", 1)))
    kept.apply(StateBegin(b"3"))
    kept.apply(events(b"4", event(Kind.NEW, "a", 1)))
    kept.apply(StateEnd(b"5"))
    assert held(kept) == {"a": 1}


def test_a_recall_leaves_both_sets_and_moves_no_token(kept: IndicatorSet) -> None:
    kept.apply(events(b"1", event(Kind.NEW, "a", 1), event(Kind.NEW, "b", 1)))
    kept.apply(StateBegin(b"2"))
    kept.apply(events(b"3", event(Kind.NEW, "a", 1), event(Kind.NEW, "b", 1)))
    recalled = kept.apply(Recalls((event(Kind.REVOKED, "a"), event(Kind.EXPIRED, "never had"))))
    assert news(recalled) == [("removed", "a")]
    assert kept.token == b"3"
    kept.apply(StateEnd(b"4"))
    assert held(kept) == {"b": 1}


def test_a_scan_goes_on_in_the_next_program(tmp_path: Path) -> None:
    with IndicatorSet(tmp_path / "kept.db") as first:
        first.apply(StateBegin(b"1"))
        first.apply(events(b"2", event(Kind.NEW, "a", 1)))
    with IndicatorSet(tmp_path / "kept.db") as second:
        assert second.token == b"2"
        second.apply(events(b"3", event(Kind.NEW, "b", 1)))
        second.apply(StateEnd(b"4"))
        assert held(second) == {"a": 1, "b": 1}


def test_half_a_delivery_is_never_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with IndicatorSet(tmp_path / "kept.db") as kept:
        kept.apply(events(b"1", event(Kind.NEW, "a", 1)))
        put = kept._put

        def fail(key: str, value: bytes) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr(kept, "_put", fail)
        with pytest.raises(OSError, match="full"):
            kept.apply(events(b"2", event(Kind.NEW, "b", 1)))
        monkeypatch.setattr(kept, "_put", put)
        assert (held(kept), kept.token) == ({"a": 1}, b"1")


def test_a_token_that_is_of_no_more_use_leaves_the_set_in_use(kept: IndicatorSet) -> None:
    kept.apply(events(b"1", event(Kind.NEW, "a", 1)))
    kept.apply(StateBegin(b"2"))
    kept.forget_token()
    assert kept.token is None
    assert held(kept) == {"a": 1}


def test_a_set_belongs_to_one_filter(kept: IndicatorSet) -> None:
    kept.bind(v1.IndicatorFilter(labels=["phishing"]))
    kept.bind(v1.IndicatorFilter(labels=["phishing"]))
    with pytest.raises(errors.Misuse):
        kept.bind(v1.IndicatorFilter())


def test_a_walk_passes_over_nothing(kept: IndicatorSet) -> None:
    many = [event(Kind.NEW, f"indicators/{n:05}", n + 1) for n in range(2_345)]
    kept.apply(events(b"1", *many))
    assert [indicator.version for indicator in kept] == list(range(1, 2_346))
    assert len(kept) == 2_345
