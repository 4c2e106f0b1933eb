"""Promises of each call, against the real hub."""

import asyncio
import uuid
from datetime import timezone
from pathlib import Path

import pytest

import luytre
from hub import Hub, replace
from luytre import errors, v1
from luytre._identity import Identity

GREEN = luytre.Tlp.GREEN


def test_every_call_of_the_first_hour_works(hub: Hub, tmp_path: Path) -> None:
    with (
        luytre.Client(hub.address, **hub.identity("so-khcn-2025/system/soc", "producer")) as department,
        luytre.Client(hub.address, **hub.identity("so-khcn-2025/user/chuyen-vien", "officer")) as officer,
    ):
        me = department.whoami()
        assert me.organisation == "organisations/so-khcn-2025"
        assert me.organisation in {organisation.name for organisation in officer.organisations()}

        mixed = [
            luytre.draft(value, GREEN) for value in ("198.51.100[.]7", "not a value at all", "a.example")
        ]
        verdicts = list(department.publish_stream(iter(mixed), batch=2))
        assert [verdict.error is None for verdict in verdicts] == [True, False, True]
        assert isinstance(verdicts[1].error, errors.FieldInvalid)
        bare = v1.IndicatorDraft(observable=luytre.observable("b.example"))
        assert isinstance(department.publish([bare])[0].error, errors.MarkingRequired)
        with pytest.raises(errors.RoleInsufficient):
            officer.publish(mixed)

        masked = v1.Caveats(masked_source=True)
        sources = [
            luytre.draft("open.example", GREEN),
            luytre.draft("masked.example", GREEN, caveats=masked),
            luytre.draft("open-too.example", GREEN),
        ]
        with pytest.raises(errors.SourcesMixed):
            department.publish(sources)
        assert [verdict.error for verdict in department.publish_stream(sources)] == [None] * 3

        # The same request again is answered as the first time; with other content it is refused.
        again = str(uuid.uuid4())
        first = department.publish([luytre.draft("c.example", GREEN)], request_id=again)
        assert department.publish([luytre.draft("c.example", GREEN)], request_id=again) == first
        with pytest.raises(errors.DuplicateRequestId):
            department.publish([luytre.draft("d.example", GREEN)], request_id=again)

        found = list(officer.lookup(["198.51.100.7", "unknown.example", "not a value at all"]))
        assert [len(one.matches) for one in found] == [1, 0, 0]
        assert isinstance(found[2].error, errors.FieldInvalid)
        name = found[0].matches[0].name
        assert found[0].matches[0].relation is luytre.Relation.EXACT
        assert found[0].matches[0].matched is None
        url = "https://www.a.example/x"
        assert [one.matches for one in officer.lookup([url])] == [()]
        (wide,) = officer.lookup([url], wide=True)
        assert (wide.truncated, [one.relation for one in wide.matches]) == (
            False,
            [luytre.Relation.HOST_PARENT_DOMAIN],
        )
        above = wide.matches[0].matched
        assert above is not None
        assert luytre.values(above) == [("domain", "a.example")]
        assert luytre.values(officer.get(name).indicator.observable) == [("ipv4", "198.51.100.7")]
        domains = v1.IndicatorFilter(kinds=[v1.OBSERVABLE_KIND_DOMAIN])
        assert len(list(officer.list(domains))) == 5
        seen = v1.Sighting(indicator=name, outcome=v1.SIGHTING_OUTCOME_SEEN_BLOCKED)
        gone = v1.Sighting(indicator=f"{name[:-1]}x", outcome=v1.SIGHTING_OUTCOME_SEEN_BLOCKED)
        recorded, refused = department.report_sightings([seen, gone])
        assert recorded == officer.get(name).sightings[0].name
        assert isinstance(refused, luytre.HubError)
        told = officer.observable("198.51.100[.]7")
        assert [one.name for one in told.assertions] == [name]
        (first,) = officer.versions(name)
        assert first.change == v1.VERSION_CHANGE_CREATED
        stood = officer.get(name, as_of=first.time.ToDatetime(timezone.utc))
        assert (stood.indicator.version, len(stood.sightings)) == (first.indicator.version, 0)

        with luytre.IndicatorSet(tmp_path / "kept.db") as kept:
            department_follows = department.follow(kept)
            assert len(next(department_follows)) == 6
            revoked = department.revoke(name, v1.REVOCATION_REASON_FALSE_POSITIVE, note="ours")
            assert revoked.state == v1.INDICATOR_STATE_REVOKED
            change = next(department_follows)[0]
            assert (change.what, change.indicator.name) == ("removed", name)
            department_follows.close()


def test_long_values_are_looked_up_in_as_many_messages_as_they_need(hub: Hub) -> None:
    with luytre.Client(hub.address, **hub.identity("ttanm-qg/user/chuyen-vien", "analyst")) as analyst:
        rules = [
            luytre.observable(f"rule r{n} {{ condition: true }}{' ' * 60_000}", "yara") for n in range(100)
        ]
        assert all(found.error is None for found in analyst.lookup(rules))


def test_a_stream_that_the_hub_ends_leaves_no_task_behind(hub: Hub) -> None:
    analyst = hub.identity("ttanm-qg/user/chuyen-vien", "analyst")

    async def tasks_after(refused: int) -> int:
        async with luytre.aio.Client(hub.address, **analyst) as client:
            for _ in range(refused):
                with pytest.raises(errors.RoleInsufficient):
                    await client.subscribe(luytre.Start.LATEST).next()
                with pytest.raises(errors.RoleInsufficient):
                    async for _verdict in client.publish_stream([luytre.draft("a.example", GREEN)]):
                        pass
            for _ in range(1_000):
                await asyncio.sleep(0)
            return len(asyncio.all_tasks())

    assert asyncio.run(tasks_after(5)) == asyncio.run(tasks_after(0))


def test_a_named_subscription_goes_on_where_it_was_confirmed(hub: Hub) -> None:
    with luytre.Client(hub.address, **hub.identity("so-khcn-2025/system/soc", "producer")) as client:
        mine = "organisations/so-khcn-2025/subscriptions/siem"
        seen = []
        start = luytre.Start.EARLIEST
        for n in range(3):
            client.publish([luytre.draft(f"host-{n}.example", GREEN)])
            with client.subscribe(start, name=mine) as subscription:
                for delivery in subscription:
                    subscription.confirm(delivery)
                    if isinstance(delivery, luytre.Events) and delivery.events:
                        seen += [luytre.values(event.indicator.observable)[0][1] for event in delivery.events]
                        break
            start = luytre.Start.CURSOR
        assert seen == ["host-0.example", "host-1.example", "host-2.example"]
        assert [subscription.name for subscription in client.subscriptions()] == [mine]
        client.delete_subscription(mine)
        assert list(client.subscriptions()) == []
        with pytest.raises(errors.NotFound):
            client.delete_subscription(mine)


def test_a_certificate_and_a_key_that_do_not_fit_are_left_alone_until_they_do(hub: Hub) -> None:
    old = hub.identity("so-khcn-2025/system/soc", "old")
    new = hub.identity("so-khcn-2025/system/soc", "new")
    identity = Identity(old["ca"], old["cert"], old["key"])
    first = identity.pem
    assert not identity.renew()
    old["cert"].write_bytes(new["cert"].read_bytes())
    assert not identity.renew()
    assert identity.pem == first
    replace(old, new)
    assert identity.renew()
    assert identity.pem.chain == new["cert"].read_bytes()
    assert "PRIVATE" not in repr(identity.pem)
    new["key"].write_text("nothing of use")
    with pytest.raises(errors.IdentityError, match=r"new\.key"):
        Identity(new["ca"], new["cert"], new["key"])


def test_a_hub_of_another_authority_is_not_trusted(hub: Hub) -> None:
    files = hub.identity("so-khcn-2025/system/soc", "producer")
    files["ca"] = hub.pki / "client-ca.pem"
    with luytre.Client(hub.address, **files) as client, pytest.raises(errors.Untrusted):
        client.whoami()


def test_a_certificate_that_the_hub_refuses_is_not_shown_for_ever(hub: Hub) -> None:
    files = hub.identity("so-khcn-2025/system/soc", "producer")
    with luytre.Client(hub.address, **files) as client:
        serial = client.whoami().certificate_serial
        with client.subscribe(luytre.Start.EARLIEST) as subscription:
            subscription.confirm(next(subscription))
            hub.revoke(serial)
            # What was under way may come first.
            with pytest.raises(errors.CertificateRevoked):
                list(subscription)
            with pytest.raises(errors.Unaccepted):
                next(subscription)


def test_a_hub_that_is_away_is_waited_for_and_not_for_ever(hub: Hub) -> None:
    files = hub.identity("so-khcn-2025/system/soc", "producer")
    hub.kill()
    patience = luytre.Backoff(first=0.01, longest=0.01, tries=3)
    with (
        luytre.Client(hub.address, **files, backoff=patience) as client,
        pytest.raises(errors.Unreachable),
    ):
        client.whoami()
