"""Promises of the client against the real hub, while everything breaks."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import luytre
from hub import Hub, Wire, replace
from luytre import aio

COUNT = 10_000
CUTS = [500 + 950 * n for n in range(10)]
KILLS = [3_200, 6_700]
RENEWAL = 5_000


def harm(hub: Hub, wire: Wire, at: int, identity: dict[str, Path], serial: str) -> None:
    """What befalls everyone once so many are published."""
    if at in CUTS:
        assert wire.cut() >= 2
    if at in KILLS:
        hub.kill()
        hub.start()
    if at == RENEWAL:
        replace(identity, hub.identity("ubnd-p-hoan-kiem/system/soc", "renewed"))
        hub.revoke(serial)


def test_ten_cuts_two_kills_and_a_new_certificate_lose_and_repeat_nothing(hub: Hub, tmp_path: Path) -> None:
    asyncio.run(story(hub, tmp_path))


async def story(hub: Hub, tmp_path: Path) -> None:
    with contextlib.closing(Wire(hub.address)) as wire:
        await told(hub, wire, tmp_path)


async def told(hub: Hub, wire: Wire, tmp_path: Path) -> None:
    producer = hub.identity("so-khcn-2025/system/soc", "producer")
    consumer = hub.identity("ubnd-p-hoan-kiem/system/soc", "consumer")
    published: list[luytre.Verdict] = []
    effects: Counter[str] = Counter()
    events: Counter[bytes] = Counter()
    names: list[str] = []
    harmed: set[int] = set()

    async with (
        aio.Client(wire.address, **producer) as department,
        aio.Client(wire.address, **consumer) as ward,
    ):
        first = await ward.whoami()
        healed = asyncio.Condition()

        async def received(at: int) -> None:
            async with healed:
                await healed.wait_for(lambda: min(len(effects), len(names)) >= at)

        async def publish() -> None:
            drafts = (luytre.draft(f"host-{n}.example", luytre.Tlp.GREEN) for n in range(COUNT))
            async for verdict in department.publish_stream(drafts, batch=50, window=4):
                published.append(verdict)
                done = len(published)
                if done in (*CUTS, *KILLS, RENEWAL):
                    # Whoever has what was published since the last harm is connected again.
                    await received(done)
                    await asyncio.to_thread(harm, hub, wire, done, consumer, first.certificate_serial)
                    harmed.add(done)

        async def follow(kept: luytre.IndicatorSet, until: int) -> None:
            async for changes in ward.follow(kept):
                effects.update(f"{change.what} {change.indicator.name}" for change in changes)
                async with healed:
                    healed.notify_all()
                if len(kept) >= until:
                    return

        async def listen() -> None:
            async with ward.subscribe(luytre.Start.EARLIEST) as subscription:
                async for delivery in subscription:
                    if isinstance(delivery, luytre.Events):
                        events.update(event.id for event in delivery.events)
                        names.extend(event.indicator.name for event in delivery.events if event.indicator)
                    await subscription.confirm(delivery)
                    async with healed:
                        healed.notify_all()
                    if len(names) >= COUNT:
                        return

        async def keep() -> None:
            # As two programs, of which the second goes on where the file stands.
            for until in (COUNT // 2 + 150, COUNT):
                with luytre.IndicatorSet(tmp_path / "kept.db") as kept:
                    await follow(kept, until)

        await asyncio.wait_for(asyncio.gather(publish(), keep(), listen()), 300)
        assert (await ward.whoami()).certificate_serial != first.certificate_serial

    assert harmed == {*CUTS, *KILLS, RENEWAL}
    assert [verdict.index for verdict in published] == list(range(COUNT))
    acknowledged = [verdict.published.name for verdict in published if verdict.published]
    assert len(set(acknowledged)) == COUNT
    assert effects == Counter(f"added {name}" for name in acknowledged)
    assert sorted(names) == sorted(acknowledged)
    assert set(events.values()) == {1}
    with luytre.IndicatorSet(tmp_path / "kept.db") as kept:
        assert {indicator.name for indicator in kept} == set(acknowledged)
        # None was published twice either: what the hub holds is one version of each.
        versions = {v.published.name: v.published.version for v in published if v.published}
        assert {indicator.name: indicator.version for indicator in kept} == versions
