"""Mail that began here leaves with DKIM signatures, by both drivers; other mail leaves as it came."""

import asyncio
import os
from pathlib import Path

import pytest

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.mail.received import invoked_line, received
from eqmail_core.mail_auth import dkim_sign
from eqmail_core.mail_auth.dkim_key import private_pem
from eqmail_core.remote.delivery import RemoteDeliveries
from tests.support.mail_auth_harness import KEYS, verify
from tests.support.remote_harness import Deliver, RemoteHome
from tests.support.scripted_server import PIPELINING, ScriptedServer

DATE = b"1 Jan 2026 00:00:00 -0000"
USER = invoked_line(1, b"by uid 1000", DATE)
FOREIGN = received(b"x.test", b"198.51.100.7", None, None, b"me.test", b"ESMTP", DATE)
BODY = b"From: Joe <joe@a.test>\nTo: r@one.test\nSubject: hello\n\nbody\n.dot\n\ttabs  \n\n\n"


@pytest.fixture
def folder(remote_home: RemoteHome) -> Path:
    """The keys of a.test."""
    folder = remote_home.home / "control/dkim/a.test"
    folder.mkdir(parents=True)
    for selector, key in KEYS.items():
        (folder / f"{selector.decode()}.pem").write_bytes(private_pem(key))
    return folder


def sent(server: ScriptedServer, connection: int = -1) -> bytes:
    """The message of a connection as a receiver has it, with LF."""
    text = bytes(server.received[connection])
    start = text.index(b"DATA\r\n") + 6
    end = text.index(b"\r\n.\r\n", start) + 2
    return text[start:end].replace(b"\r\n.", b"\r\n").replace(b"\r\n", b"\n")


def deliver_message(deliver: Deliver, remote_home: RemoteHome, message: bytes) -> bytes:
    remote_home.write_message(message)
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        assert deliver(b"r@one.test")[0] == b"K"
        return sent(server)


def test_mail_that_began_here_is_signed_by_both_keys(deliver: Deliver, remote_home: RemoteHome, folder: Path) -> None:
    message = USER + BODY
    text = deliver_message(deliver, remote_home, message)
    assert text.endswith(message)
    found = verify(text)
    assert [(it.result, it.signature and it.signature.algorithm) for it in found] == [
        (b"pass", b"rsa-sha256"),
        (b"pass", b"ed25519-sha256"),
    ]


def test_a_long_message_is_signed_to_its_end(deliver: Deliver, remote_home: RemoteHome, folder: Path) -> None:
    message = USER + BODY + b"a line with  blanks \n" * 20000
    assert [it.result for it in verify(deliver_message(deliver, remote_home, message))] == [b"pass", b"pass"]


@pytest.mark.parametrize("head", [FOREIGN, USER + b"Delivered-To: a@me.test\n" + FOREIGN])
def test_a_forward_of_foreign_mail_is_not_signed(
    head: bytes, deliver: Deliver, remote_home: RemoteHome, folder: Path
) -> None:
    assert deliver_message(deliver, remote_home, head + BODY) == head + BODY


def test_mail_of_clients_that_may_relay_is_signed(deliver: Deliver, remote_home: RemoteHome, folder: Path) -> None:
    remote_home.control("relayclients", "198.51.100.0/24")
    assert len(verify(deliver_message(deliver, remote_home, FOREIGN + BODY))) == 2


def test_a_domain_below_is_signed_by_the_one_above_and_others_are_not(
    deliver: Deliver, remote_home: RemoteHome, folder: Path
) -> None:
    below = BODY.replace(b"joe@a.test", b"joe@news.a.test")
    assert [it.domain for it in verify(deliver_message(deliver, remote_home, below))] == [b"a.test"] * 2
    other = BODY.replace(b"joe@a.test", b"joe@b.test")
    assert deliver_message(deliver, remote_home, other) == other


def test_only_active_keys_sign(deliver: Deliver, remote_home: RemoteHome, folder: Path) -> None:
    (folder / "states").write_text("e active 1\nr retiring 1\n")
    found = verify(deliver_message(deliver, remote_home, BODY))
    assert [it.signature and it.signature.selector for it in found] == [b"e"]


@pytest.mark.parametrize("trouble", ["garbage", "missing", "states"])
def test_mail_waits_while_a_key_cannot_be_used(
    trouble: str, deliver: Deliver, remote_home: RemoteHome, folder: Path
) -> None:
    if trouble == "garbage":
        (folder / "r.pem").write_text("no key")
    else:
        (folder / "states").write_text("x active 1\n" if trouble == "missing" else "nonsense\n")
    remote_home.write_message(BODY)
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        letter, text = deliver(b"r@one.test")
    assert letter == b"Z"
    assert text.startswith(b"Unable to read the DKIM keys of a.test: ")
    assert server.messages == 0


def test_many_recipients_cost_one_signature(
    remote_home: RemoteHome, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    sign = dkim_sign.sign
    monkeypatch.setattr(dkim_sign, "sign", lambda *rest: made.append(1) or sign(*rest))  # type: ignore[func-returns-value]
    remote_home.write_message(BODY)

    async def scenario(deliveries: RemoteDeliveries) -> list[bytes]:
        requests = [DeliveryRequest(serial, 1, b"", b"s@x.test", b"r@one.test") for serial in range(20)]
        tasks = [asyncio.ensure_future(deliveries.deliver(request, remote_home.message)) for request in requests]
        # One that goes away does not take the signature of the others with it.
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks[1:])
        return [it.outcome for it in found]

    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        assert remote_home.run(scenario) == [b"K"] * 19
    assert len(made) == 1


def test_another_message_of_the_same_number_gets_its_own_signature(remote_home: RemoteHome, folder: Path) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> None:
        for number, text in enumerate((BODY, BODY + b"more\n")):
            path = remote_home.home / f"message{number}"
            path.write_bytes(text)
            fd = os.open(path, os.O_RDONLY)
            await deliveries.deliver(DeliveryRequest(number, 1, b"", b"s@x.test", b"r@one.test"), fd)
            os.close(fd)

    with ScriptedServer(PIPELINING, PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        remote_home.control("remotereuse", "0")
        remote_home.run(scenario)
        texts = [sent(server, 0), sent(server, 1)]
    assert [[it.result for it in verify(text)] for text in texts] == [[b"pass", b"pass"]] * 2


def test_without_keys_mail_leaves_as_it_came(deliver: Deliver, remote_home: RemoteHome) -> None:
    assert deliver_message(deliver, remote_home, USER + BODY) == USER + BODY
