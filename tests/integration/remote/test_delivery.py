"""Deliveries of the remote service, with a name server and SMTP servers on loopback."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.outcome import DSN_RELAYED, DURABLE, DeliveryResult, Disposition
from eqmail_core.remote.delivery import MAX_PER_CONNECTION, RemoteDeliveries
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.system.lease_file import LeaseWriter, boot_time
from tests.support.remote_harness import MESSAGE, RemoteHome, Report, reported
from tests.support.scripted_server import PIPELINING, ScriptedServer


@pytest.fixture
def server(remote_home: RemoteHome) -> Iterator[ScriptedServer]:
    """A server at 127.0.0.2, to which every MX leads by its port."""
    with ScriptedServer(PIPELINING, host="127.0.0.2") as running:
        remote_home.control("smtproutes", f"::{running.port}")
        yield running


@pytest.mark.parametrize("host", [b"one.test", b"two.test", b"many.test", b"alias-mx.test", b"a.test", b"[127.0.0.2]"])
def test_every_exchanger_and_address_is_tried_in_one_attempt(
    host: bytes, remote_home: RemoteHome, server: ScriptedServer
) -> None:
    assert remote_home.deliver(b"r@" + host) == [(b"K", b"127.0.0.2 accepted message.\nRemote host said: 250 queued\n")]
    assert b"EHLO me.test\r\nMAIL FROM:<s@x.test>\r\nRCPT TO:<r@" + host + b">\r\nDATA\r\n" in server.received[0]
    assert b"Subject: x\r\n\r\n..body\r\n.\r\n" in server.received[0]


def test_an_aliased_host_is_renamed(remote_home: RemoteHome, server: ScriptedServer) -> None:
    assert remote_home.deliver(b"r@Renamed.Test")[0][0] == b"K"
    assert b"RCPT TO:<r@one.test>" in server.received[0]


def test_outgoing_connections_use_the_configured_source_address(
    remote_home: RemoteHome, server: ScriptedServer
) -> None:
    remote_home.control("outgoingip", "2001:db8::1\n127.0.0.9")
    assert remote_home.deliver(b"r@one.test")[0][0] == b"K"
    assert b"\0K127.0.0.2 accepted" in remote_home.deliver_once(b"r@one.test")
    remote_home.control("outgoingip", "2001:db8::1")
    assert remote_home.deliver(b"r@one.test")[0][0] == b"K"
    assert server.callers == ["127.0.0.9", "127.0.0.9", "127.0.0.1"]


@pytest.mark.parametrize(
    ("wanted", "reason"), [("192.0.2.99", b"address not available"), ("here", b"invalid argument")]
)
def test_mail_waits_while_the_configured_source_address_is_missing(
    wanted: str, reason: bytes, remote_home: RemoteHome, server: ScriptedServer
) -> None:
    remote_home.control("outgoingip", wanted)
    text = b"Unable to send from %b, as outgoingip wants: %b. (#4.3.5)\n" % (wanted.encode(), reason)
    assert remote_home.deliver(b"r@one.test") == [(b"Z", text)]
    assert remote_home.deliver_once(b"r@one.test") == b"Z" + text + b"\0"
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
def test_unroutable_hosts_are_reported(
    host: bytes, report: Report, remote_home: RemoteHome, server: ScriptedServer
) -> None:
    assert remote_home.deliver(b"r@" + host) == [report]
    assert server.received == []


def test_a_relay_may_be_reached_by_ipv6(remote_home: RemoteHome) -> None:
    with ScriptedServer(host="::1") as server:
        remote_home.control("smtproutes", f":six.test:{server.port}")
        assert remote_home.deliver(b"r@anywhere.test")[0] == (
            b"K",
            b"::1 accepted message.\nRemote host said: 250 queued\n",
        )


def test_a_busy_server_is_skipped(remote_home: RemoteHome) -> None:
    with ScriptedServer({"greet": "421 busy"}, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        ((letter, text),) = remote_home.deliver(b"r@two.test")
    assert letter == b"Z"
    assert text.startswith(b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1) (dead.test 127.0.0.5 port ")
    assert text.endswith(b": connection refused)\nRemote host said: 421 busy\n")


def test_credentials_of_a_route_are_used(remote_home: RemoteHome) -> None:
    with ScriptedServer({"ehlo": "250-x\n250 AUTH PLAIN", "auth": "235 ok"}) as server:
        remote_home.control("smtproutes", f":127.0.0.1:{server.port} user pass word")
        assert remote_home.deliver(b"r@y.test")[0][0] == b"K"
        assert b"AUTH PLAIN AHVzZXIAcGFzcyB3b3Jk\r\nMAIL FROM:<s@x.test> AUTH=s@x.test\r\n" in server.received[0]


# --------------------------------------------------------------------- connections that are kept


def test_messages_to_one_server_share_a_connection(remote_home: RemoteHome, server: ScriptedServer) -> None:
    reports = remote_home.deliver(b"a@one.test", b"b@one.test", b"c@a.test")
    assert [letter for letter, _ in reports] == [b"K"] * 3
    assert len(server.received) == 1
    assert server.messages == 3


def test_zero_seconds_means_a_connection_for_each_message(remote_home: RemoteHome, server: ScriptedServer) -> None:
    remote_home.control("remotereuse", "0")
    remote_home.deliver(b"a@one.test", b"b@one.test")
    for connection in range(2):
        server.wait_until_received(b"QUIT\r\n", connection)
    assert [received.count(b"QUIT\r\n") for received in server.received] == [1, 1]


def test_a_connection_carries_a_bounded_number_of_messages(remote_home: RemoteHome, server: ScriptedServer) -> None:
    reports = remote_home.deliver(*[b"a@one.test"] * (MAX_PER_CONNECTION + 1))
    assert [letter for letter, _ in reports] == [b"K"] * (MAX_PER_CONNECTION + 1)
    assert [received.count(b"MAIL") for received in server.received] == [MAX_PER_CONNECTION, 1]


def test_a_refused_message_does_not_taint_the_next(remote_home: RemoteHome) -> None:
    with ScriptedServer(PIPELINING | {"rcpt": "550 no"}, PIPELINING) as server:
        remote_home.control("smtproutes", f":127.0.0.1:{server.port}")
        first, second = remote_home.deliver(b"a@y.test", b"b@y.test")
    assert first == (
        b"D",
        b"127.0.0.1 does not like recipient.\nRemote host said: 550 no\nGiving up on 127.0.0.1.\n",
    )
    assert second[0] == b"K"


@pytest.mark.parametrize("farewell", [b"421 too long\r\n", b""])
def test_a_kept_connection_that_died_meanwhile_is_replaced(remote_home: RemoteHome, farewell: bytes) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> list[Report]:
        first = reported(await deliveries.deliver(DeliveryRequest(1, 1, b"", b"s@x", b"a@y.test"), remote_home.message))
        # The loop does not look at the connection in between: the next message finds it dead.
        if farewell:
            relay._open[0].sendall(farewell)
        relay._open[0].shutdown(2)
        second = deliveries.deliver(DeliveryRequest(2, 1, b"", b"s@x", b"b@y.test"), remote_home.message)
        return [first, reported(await second)]

    with ScriptedServer(PIPELINING) as relay:
        remote_home.control("smtproutes", f":127.0.0.1:{relay.port}")
        assert [letter for letter, _ in remote_home.run(scenario)] == [b"K", b"K"]
        assert relay.messages == 2


@pytest.mark.parametrize("refusal", ["450 enough", "550 enough", "354 what"])
def test_a_server_that_refuses_more_on_a_connection_gets_a_new_one(refusal: str, remote_home: RemoteHome) -> None:
    class ClosingServer(ScriptedServer):
        def _say(self, client: object, reply: str) -> bool:
            tired = reply == "250 ok" and self.messages == 1 and len(self.received) == 1
            return super()._say(client, refusal if tired else reply)  # type: ignore[arg-type]

    with ClosingServer(PIPELINING) as server:
        remote_home.control("smtproutes", f":127.0.0.1:{server.port}")
        assert [letter for letter, _ in remote_home.deliver(b"a@y.test", b"b@y.test")] == [b"K", b"K"]
        assert len(server.received) == 2


def test_many_deliveries_at_a_time_leave_no_descriptor_behind(remote_home: RemoteHome, server: ScriptedServer) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> list[Report]:
        orders = [DeliveryRequest(number, 1, b"", b"s@x", b"r%d@one.test" % number) for number in range(30)]
        results = await asyncio.gather(*[deliveries.deliver(order, remote_home.message) for order in orders])
        return [reported(result) for result in results]

    assert {letter for letter, _ in remote_home.run(scenario)} == {b"K"}
    assert server.messages == 30
    ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and _exists(fd)]
    theirs = [client.fileno() for client in server._open]
    assert sum(name.startswith("socket:") for name in ours) <= len(theirs) + 3


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_cancelled_delivery_closes_its_connection(remote_home: RemoteHome) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> None:
        order = DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test")
        task = asyncio.ensure_future(deliveries.deliver(order, remote_home.message))
        await asyncio.to_thread(relay.wait_until_received, b"DATA\r\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not deliveries._timer.sessions

    with ScriptedServer(PIPELINING | {"data": "!silent"}) as relay:
        remote_home.control("smtproutes", f":127.0.0.1:{relay.port}")
        remote_home.run(scenario)


class EndingLease(ScriptedServer):
    """Ends the lease of the client before it says that the message may come."""

    end: Callable[[], None] = staticmethod(lambda: None)

    def _say(self, client: socket.socket, reply: str) -> bool:
        if reply[:3] == "354":
            self.end()
        return super()._say(client, reply)


@pytest.mark.parametrize("dies", ["before the attempt", "before the final dot"])
@pytest.mark.parametrize("epoch", [7, 8])
def test_a_message_whose_lease_is_over_is_not_sent(remote_home: RemoteHome, dies: str, epoch: int) -> None:
    writer = LeaseWriter(remote_home.site.queue.lease)
    writer.write(7, boot_time() + 1000)

    def end() -> None:
        # It is over for the epoch 7 in both cases: by time, or because another epoch has begun.
        writer.write(epoch, boot_time() + (1000 if epoch == 8 else -1))

    async def scenario(deliveries: RemoteDeliveries) -> Report:
        return reported(
            await deliveries.deliver(DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test", epoch=7), remote_home.message)
        )

    with EndingLease(PIPELINING) as relay:
        remote_home.control("smtproutes", f":127.0.0.1:{relay.port}")
        assert remote_home.run(scenario)[0] == b"K" and relay.messages == 1
        if dies == "before the attempt":
            end()
        else:
            relay.end = end  # type: ignore[method-assign]
        letter, text = remote_home.run(scenario)
        assert letter == b"Z" and b"lease" in text and relay.messages == 1
        assert len(relay.received) == (1 if dies == "before the attempt" else 2)
    writer.close()


# --------------------------------------------------------------------- orders, settings, slow hosts


def test_malformed_requests_are_refused(remote_home: RemoteHome) -> None:
    assert remote_home.deliver(b"nobody") == [(b"D", b"Sorry, address must include host name. (#5.1.3)\n")]
    remote_home.owner += 1
    assert remote_home.deliver(b"r@one.test") == [(b"Z", b"Sorry, message has wrong owner. (#4.3.5)\n")]
    os.close(remote_home.message)
    remote_home.message = os.open(remote_home.home, os.O_RDONLY)
    assert remote_home.deliver(b"r@one.test") == [(b"Z", b"Sorry, message has wrong type. (#4.3.5)\n")]


def test_settings_that_cannot_be_read_defer(remote_home: RemoteHome) -> None:
    unreadable = [(b"Z", b"Unable to read control files. (#4.3.0)\n")]
    (remote_home.home / "control/helohost").unlink()
    assert remote_home.deliver(b"r@one.test") == unreadable
    (remote_home.home / "control/helohost").mkdir()
    assert remote_home.deliver(b"r@one.test") == unreadable


def test_a_changed_route_counts_without_any_signal(remote_home: RemoteHome) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> list[bytes]:
        order = DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test")
        letters: list[bytes] = []
        for target in ("127.0.0.1:1", f"127.0.0.1:{relay.port}"):
            remote_home.control("smtproutes", f":{target}")
            os.utime(remote_home.home / "control/smtproutes", ns=(0, len(letters)))
            deliveries.source._looked = time.monotonic() - 2
            letters.append((await deliveries.deliver(order, remote_home.message)).outcome)
        return letters

    with ScriptedServer() as relay:
        assert remote_home.run(scenario) == [b"Z", b"K"]


def test_a_refusing_host_is_skipped_after_repeated_failures(remote_home: RemoteHome) -> None:
    remote_home.control("smtproutes", ":127.0.0.1:1")
    remote_home.deliver(b"r@y.test")
    record = remote_home.tcpto.read_bytes()[:32]
    assert (record[0], record[1], record[16:20]) == (2, 1, b"\x7f\0\0\1")
    slow = TcptoCache(str(remote_home.tcpto))
    assert not slow.should_skip("127.0.0.1", 0)
    remote_home.tcpto.write_bytes(
        record[:1] + b"\2" + record[2:8] + int(time.time()).to_bytes(8, "little") + record[16:]
    )
    os.utime(remote_home.tcpto, ns=(0, 0))
    assert slow.should_skip("127.0.0.1", 0)
    slow.record_failure("127.0.0.9", errno.EHOSTUNREACH)
    assert not slow.should_skip("127.0.0.9", 0)
    slow.record_success("127.0.0.1")
    assert not slow.should_skip("127.0.0.1", 0)


def test_without_the_table_nothing_is_skipped(remote_home: RemoteHome) -> None:
    remote_home.tcpto.unlink()
    slow = TcptoCache(str(remote_home.tcpto))
    slow.clear()
    slow.record_failure("127.0.0.1", errno.ETIMEDOUT)
    assert not slow.should_skip("127.0.0.1", 0)


# --------------------------------------------------------------------- programs in place of our own code


def test_a_program_before_qmail_remote_is_run_with_its_own_view_of_the_message(remote_home: RemoteHome) -> None:
    remote_home.program("qmail-bfrmt", 'cat >"$OUT/$1-$3"; printf "r\\0K%s from %s\\0" "$3" "$2"\n')
    remote_home.control("beforemote", "sign and send")
    os.environ["OUT"] = str(remote_home.home)
    try:
        reports = remote_home.deliver(b"a@one.test", b"b@one.test", sender=b"")
    finally:
        del os.environ["OUT"]
    assert reports == [(b"K", b"a@one.test from "), (b"K", b"b@one.test from ")]
    assert (remote_home.home / "one.test-a@one.test").read_bytes() == MESSAGE
    assert (remote_home.home / "one.test-b@one.test").read_bytes() == MESSAGE


def test_a_beforemote_that_does_nothing_runs_no_program(remote_home: RemoteHome, server: ScriptedServer) -> None:
    remote_home.program("qmail-bfrmt", "exit 7\n")
    remote_home.control("beforemote", "# nothing here")
    assert remote_home.deliver(b"a@one.test")[0][0] == b"K"


@pytest.mark.parametrize(
    ("program", "report"),
    [
        ("exit 111\n", (b"Z", b"Unable to run mine.\n")),
        ("exit 3\n", (b"D", b"Unable to run mine.\n")),
        ("kill -9 $$\n", (b"Z", b"mine crashed.\n")),
        ("cat >/dev/null\n", (b"Z", b"mine produced no output.\n")),
    ],
)
def test_the_exit_of_a_program_is_reported_as_by_the_spawner(
    program: str, report: Report, remote_home: RemoteHome
) -> None:
    remote_home.program("mine", program)
    remote_home.environ = {b"QMAILREMOTE": os.fsencode(remote_home.home / "bin/mine")}
    assert remote_home.deliver(b"a@one.test") == [report]


def test_a_missing_program_is_permanent_as_with_the_spawner(remote_home: RemoteHome) -> None:
    remote_home.environ = {b"QMAILREMOTE": b"/no/such/mine"}
    assert remote_home.deliver(b"a@one.test") == [(b"D", b"Unable to run mine.\n")]


def test_a_connection_carries_as_many_messages_as_the_domain_may_get(remote_home: RemoteHome) -> None:
    remote_home.control("remotelimits", "*:messages=2")
    with ScriptedServer(PIPELINING) as server:
        remote_home.control("smtproutes", f":127.0.0.1:{server.port}")
        assert {letter for letter, _ in remote_home.deliver(*[b"a@y.test"] * 5)} == {b"K"}
        assert [received.count(b"MAIL") for received in server.received] == [2, 2, 1]


@pytest.mark.parametrize(
    ("extension", "disposition"), [("DSN", DSN_RELAYED), ("8BITMIME", DURABLE)], ids=["offers DSN", "does not"]
)
def test_the_result_has_whether_the_next_hop_sends_the_dsns(
    remote_home: RemoteHome, extension: str, disposition: Disposition
) -> None:
    request = DeliveryRequest(1, 1, b"", b"s@x", b"r@y.test", b"W E:id 0:sf:")

    async def scenario(deliveries: RemoteDeliveries) -> DeliveryResult:
        return await deliveries.deliver(request, remote_home.message)

    with ScriptedServer({"ehlo": f"250-fake\n250 {extension}"}) as relay:
        remote_home.control("smtproutes", f":127.0.0.1:{relay.port}")
        result = remote_home.run(scenario)
    assert (result.outcome, result.disposition) == (b"K", disposition)
