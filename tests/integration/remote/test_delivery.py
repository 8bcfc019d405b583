"""Deliveries of the remote service, with a name server and SMTP servers on loopback."""

import asyncio
import errno
import os
import time
from collections.abc import Iterator

import pytest

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.remote.delivery import MAX_PER_CONNECTION, RemoteDeliveries, Report
from eqmail_core.remote.tcpto import TcptoCache
from tests.support.remote_harness import MESSAGE, House
from tests.support.scripted_server import PIPELINING, ScriptedServer


@pytest.fixture
def server(house: House) -> Iterator[ScriptedServer]:
    """A server at 127.0.0.2, to which every MX leads by its port."""
    with ScriptedServer(PIPELINING, host="127.0.0.2") as running:
        house.control("smtproutes", f"::{running.port}")
        yield running


@pytest.mark.parametrize("host", [b"one.test", b"two.test", b"many.test", b"alias-mx.test", b"a.test", b"[127.0.0.2]"])
def test_every_exchanger_and_address_is_tried_in_one_attempt(host: bytes, house: House, server: ScriptedServer) -> None:
    assert house.deliver(b"r@" + host) == [(b"K", b"127.0.0.2 accepted message.\nRemote host said: 250 queued\n")]
    assert b"EHLO me.test\r\nMAIL FROM:<s@x.test>\r\nRCPT TO:<r@" + host + b">\r\nDATA\r\n" in server.heard[0]
    assert b"Subject: x\r\n\r\n..body\r\n.\r\n" in server.heard[0]


def test_an_aliased_host_is_renamed(house: House, server: ScriptedServer) -> None:
    assert house.deliver(b"r@Renamed.Test")[0][0] == b"K"
    assert b"RCPT TO:<r@one.test>" in server.heard[0]


def test_mail_leaves_from_the_address_that_is_wanted_for_its_kind(house: House, server: ScriptedServer) -> None:
    house.control("outgoingip", "2001:db8::1\n127.0.0.9")
    assert house.deliver(b"r@one.test")[0][0] == b"K"
    assert b"\0K127.0.0.2 accepted" in house.deliver_once(b"r@one.test")
    house.control("outgoingip", "2001:db8::1")
    assert house.deliver(b"r@one.test")[0][0] == b"K"
    assert server.callers == ["127.0.0.9", "127.0.0.9", "127.0.0.1"]


@pytest.mark.parametrize(
    ("wanted", "reason"), [("192.0.2.99", b"address not available"), ("here", b"invalid argument")]
)
def test_mail_waits_where_this_host_has_not_the_address_that_is_wanted(
    wanted: str, reason: bytes, house: House, server: ScriptedServer
) -> None:
    house.control("outgoingip", wanted)
    text = b"Unable to send from %b, as outgoingip wants: %b. (#4.3.5)\n" % (wanted.encode(), reason)
    assert house.deliver(b"r@one.test") == [(b"Z", text)]
    assert house.deliver_once(b"r@one.test") == b"Z" + text + b"\0"
    assert server.callers == []


@pytest.mark.parametrize(
    ("host", "report"),
    [
        (b"missing.test", (b"D", b"Sorry, I couldn't find any host named missing.test. (#5.1.2)\n")),
        (b"silent.test", (b"Z", b"CNAME lookup failed temporarily. (#4.4.3)\n")),
        (b"servfail.test", (b"Z", b"CNAME lookup failed temporarily. (#4.4.3)\n")),
        (b"null.test", (b"D", b"Sorry, null.test does not accept mail. (#5.1.10)\n")),
        (
            b"me.test",
            (
                b"D",
                b"Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
                b"it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n",
            ),
        ),
    ],
)
def test_hosts_without_a_way_are_reported(host: bytes, report: Report, house: House, server: ScriptedServer) -> None:
    assert house.deliver(b"r@" + host) == [report]
    assert server.heard == []


def test_a_relay_may_be_reached_by_ipv6(house: House) -> None:
    with ScriptedServer(host="::1") as server:
        house.control("smtproutes", f":six.test:{server.port}")
        assert house.deliver(b"r@anywhere.test")[0] == (b"K", b"::1 accepted message.\nRemote host said: 250 queued\n")


def test_a_busy_server_is_passed_over(house: House) -> None:
    with ScriptedServer({"greet": "421 busy"}, host="127.0.0.2") as server:
        house.control("smtproutes", f"::{server.port}")
        ((letter, text),) = house.deliver(b"r@two.test")
    assert letter == b"Z"
    assert text.startswith(b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1) (dead.test 127.0.0.5 port ")
    assert text.endswith(b": connection refused)\nRemote host said: 421 busy\n")


def test_credentials_of_a_route_are_used(house: House) -> None:
    with ScriptedServer({"ehlo": "250-x\n250 AUTH PLAIN", "auth": "235 ok"}) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port} user pass word")
        assert house.deliver(b"r@y.test")[0][0] == b"K"
        assert b"AUTH PLAIN AHVzZXIAcGFzcyB3b3Jk\r\nMAIL FROM:<s@x.test> AUTH=s@x.test\r\n" in server.heard[0]


# --------------------------------------------------------------------- connections that are kept


def test_messages_to_one_server_share_a_connection(house: House, server: ScriptedServer) -> None:
    reports = house.deliver(b"a@one.test", b"b@one.test", b"c@a.test")
    assert [letter for letter, _ in reports] == [b"K"] * 3
    assert len(server.heard) == 1
    assert server.messages == 3


def test_zero_seconds_means_a_connection_for_each_message(house: House, server: ScriptedServer) -> None:
    house.control("remotereuse", "0")
    house.deliver(b"a@one.test", b"b@one.test")
    for connection in range(2):
        server.wait_until_heard(b"QUIT\r\n", connection)
    assert [heard.count(b"QUIT\r\n") for heard in server.heard] == [1, 1]


def test_a_connection_carries_a_bounded_number_of_messages(house: House, server: ScriptedServer) -> None:
    reports = house.deliver(*[b"a@one.test"] * (MAX_PER_CONNECTION + 1))
    assert [letter for letter, _ in reports] == [b"K"] * (MAX_PER_CONNECTION + 1)
    assert [heard.count(b"MAIL") for heard in server.heard] == [MAX_PER_CONNECTION, 1]


def test_a_refused_message_does_not_taint_the_next(house: House) -> None:
    with ScriptedServer(PIPELINING | {"rcpt": "550 no"}, PIPELINING) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        first, second = house.deliver(b"a@y.test", b"b@y.test")
    assert first == (
        b"D",
        b"127.0.0.1 does not like recipient.\nRemote host said: 550 no\nGiving up on 127.0.0.1.\n",
    )
    assert second[0] == b"K"


@pytest.mark.parametrize("farewell", [b"421 too long\r\n", b""])
def test_a_kept_connection_that_died_meanwhile_is_replaced(house: House, farewell: bytes) -> None:
    async def play(deliveries: RemoteDeliveries) -> list[Report]:
        first = await deliveries.deliver(DeliveryRequest(1, 1, b"", b"s@x", b"a@y.test"), house.message)
        # The loop does not look at the connection in between: the next message finds it dead.
        if farewell:
            relay._open[0].sendall(farewell)
        relay._open[0].shutdown(2)
        second = deliveries.deliver(DeliveryRequest(2, 1, b"", b"s@x", b"b@y.test"), house.message)
        return [first, await second]

    with ScriptedServer(PIPELINING) as relay:
        house.control("smtproutes", f":127.0.0.1:{relay.port}")
        assert [letter for letter, _ in house.run(play)] == [b"K", b"K"]
        assert relay.messages == 2


@pytest.mark.parametrize("refusal", ["450 enough", "550 enough", "354 what"])
def test_a_server_tired_of_a_connection_gets_a_new_one(refusal: str, house: House) -> None:
    class TiredServer(ScriptedServer):
        def _say(self, client: object, reply: str) -> bool:
            tired = reply == "250 ok" and self.messages == 1 and len(self.heard) == 1
            return super()._say(client, refusal if tired else reply)  # type: ignore[arg-type]

    with TiredServer(PIPELINING) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        assert [letter for letter, _ in house.deliver(b"a@y.test", b"b@y.test")] == [b"K", b"K"]
        assert len(server.heard) == 2


def test_many_deliveries_at_a_time_leave_no_descriptor_behind(house: House, server: ScriptedServer) -> None:
    async def play(deliveries: RemoteDeliveries) -> list[Report]:
        orders = [DeliveryRequest(number, 1, b"", b"s@x", b"r%d@one.test" % number) for number in range(30)]
        return await asyncio.gather(*[deliveries.deliver(order, house.message) for order in orders])

    assert {letter for letter, _ in house.run(play)} == {b"K"}
    assert server.messages == 30
    ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and _exists(fd)]
    theirs = [client.fileno() for client in server._open]
    assert sum(name.startswith("socket:") for name in ours) <= len(theirs) + 3


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_cancelled_delivery_closes_its_connection(house: House) -> None:
    async def play(deliveries: RemoteDeliveries) -> None:
        order = DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test")
        task = asyncio.ensure_future(deliveries.deliver(order, house.message))
        await asyncio.to_thread(relay.wait_until_heard, b"DATA\r\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not deliveries._timer.sessions

    with ScriptedServer(PIPELINING | {"data": "!silent"}) as relay:
        house.control("smtproutes", f":127.0.0.1:{relay.port}")
        house.run(play)


# --------------------------------------------------------------------- orders, settings, slow hosts


def test_orders_that_make_no_sense_are_refused(house: House) -> None:
    assert house.deliver(b"nobody") == [(b"D", b"Sorry, address must include host name. (#5.1.3)\n")]
    house.owner += 1
    assert house.deliver(b"r@one.test") == [(b"Z", b"Sorry, message has wrong owner. (#4.3.5)\n")]
    os.close(house.message)
    house.message = os.open(house.home, os.O_RDONLY)
    assert house.deliver(b"r@one.test") == [(b"Z", b"Sorry, message has wrong type. (#4.3.5)\n")]


def test_settings_that_cannot_be_read_defer(house: House) -> None:
    unreadable = [(b"Z", b"Unable to read control files. (#4.3.0)\n")]
    (house.home / "control/helohost").unlink()
    assert house.deliver(b"r@one.test") == unreadable
    (house.home / "control/helohost").mkdir()
    assert house.deliver(b"r@one.test") == unreadable


def test_a_changed_route_counts_without_any_signal(house: House) -> None:
    async def play(deliveries: RemoteDeliveries) -> list[bytes]:
        order = DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test")
        letters: list[bytes] = []
        for target in ("127.0.0.1:1", f"127.0.0.1:{relay.port}"):
            house.control("smtproutes", f":{target}")
            os.utime(house.home / "control/smtproutes", ns=(0, len(letters)))
            deliveries.source._looked = time.monotonic() - 2
            letters.append((await deliveries.deliver(order, house.message))[0])
        return letters

    with ScriptedServer() as relay:
        assert house.run(play) == [b"Z", b"K"]


def test_a_host_that_refuses_is_left_alone_after_a_while(house: House) -> None:
    house.control("smtproutes", ":127.0.0.1:1")
    house.deliver(b"r@y.test")
    record = house.tcpto.read_bytes()[:32]
    assert (record[0], record[1], record[16:20]) == (2, 1, b"\x7f\0\0\1")
    slow = TcptoCache(str(house.tcpto))
    assert not slow.should_skip("127.0.0.1", 0)
    house.tcpto.write_bytes(record[:1] + b"\2" + record[2:8] + int(time.time()).to_bytes(8, "little") + record[16:])
    os.utime(house.tcpto, ns=(0, 0))
    assert slow.should_skip("127.0.0.1", 0)
    slow.record_failure("127.0.0.9", errno.EHOSTUNREACH)
    assert not slow.should_skip("127.0.0.9", 0)
    slow.record_success("127.0.0.1")
    assert not slow.should_skip("127.0.0.1", 0)


def test_without_the_table_nothing_is_skipped(house: House) -> None:
    house.tcpto.unlink()
    slow = TcptoCache(str(house.tcpto))
    slow.clear()
    slow.record_failure("127.0.0.1", errno.ETIMEDOUT)
    assert not slow.should_skip("127.0.0.1", 0)


# --------------------------------------------------------------------- programs in place of our own code


def test_a_program_before_qmail_remote_is_run_with_its_own_view_of_the_message(house: House) -> None:
    house.program("qmail-bfrmt", 'cat >"$OUT/$1-$3"; printf "r\\0K%s from %s\\0" "$3" "$2"\n')
    house.control("beforemote", "sign and send")
    os.environ["OUT"] = str(house.home)
    try:
        reports = house.deliver(b"a@one.test", b"b@one.test", sender=b"")
    finally:
        del os.environ["OUT"]
    assert reports == [(b"K", b"a@one.test from "), (b"K", b"b@one.test from ")]
    assert (house.home / "one.test-a@one.test").read_bytes() == MESSAGE
    assert (house.home / "one.test-b@one.test").read_bytes() == MESSAGE


def test_a_beforemote_that_does_nothing_runs_no_program(house: House, server: ScriptedServer) -> None:
    house.program("qmail-bfrmt", "exit 7\n")
    house.control("beforemote", "# nothing here")
    assert house.deliver(b"a@one.test")[0][0] == b"K"


@pytest.mark.parametrize(
    ("program", "report"),
    [
        ("exit 111\n", (b"Z", b"Unable to run mine.\n")),
        ("exit 3\n", (b"D", b"Unable to run mine.\n")),
        ("kill -9 $$\n", (b"Z", b"mine crashed.\n")),
        ("cat >/dev/null\n", (b"Z", b"mine produced no output.\n")),
    ],
)
def test_the_end_of_a_program_is_judged_as_by_the_spawner(program: str, report: Report, house: House) -> None:
    house.program("mine", program)
    house.environ = {b"QMAILREMOTE": os.fsencode(house.home / "bin/mine")}
    assert house.deliver(b"a@one.test") == [report]


def test_a_program_that_is_not_there_is_permanent_as_with_the_spawner(house: House) -> None:
    house.environ = {b"QMAILREMOTE": b"/no/such/mine"}
    assert house.deliver(b"a@one.test") == [(b"D", b"Unable to run mine.\n")]


def test_a_connection_carries_as_many_messages_as_the_domain_may_get(house: House) -> None:
    house.control("remotelimits", "*:messages=2")
    with ScriptedServer(PIPELINING) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        assert {letter for letter, _ in house.deliver(*[b"a@y.test"] * 5)} == {b"K"}
        assert [heard.count(b"MAIL") for heard in server.heard] == [2, 2, 1]
