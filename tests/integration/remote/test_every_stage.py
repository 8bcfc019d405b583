"""A server that refuses, disconnects or stays silent at each stage: the report, and the next server to try."""

import pytest

from tests.support.remote_harness import RemoteHome
from tests.support.scripted_server import PIPELINING, Script, ScriptedServer

STAGES = ("greet", "ehlo", "mail", "rcpt", "data", "final")

# Before the EHLO reply of a server, another may be tried; afterwards the first answer counts.
SOFT = {
    "greet": b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\nRemote host said: 451 later\n",
    "ehlo": b"Connected to 127.0.0.2 but my name was rejected.\nRemote host said: 451 later\n",
    "mail": b"Connected to 127.0.0.2 but sender was rejected.\nRemote host said: 451 later\n",
    "rcpt": b"127.0.0.2 does not like recipient.\nRemote host said: 451 later\n",
    "data": b"127.0.0.2 failed on DATA command.\nRemote host said: 451 later\n",
    "final": b"127.0.0.2 failed after I sent the message.\nRemote host said: 451 later\n",
}
HARD = {stage: text.replace(b"451 later", b"550 never") for stage, text in SOFT.items()} | {
    "greet": b"Connected to 127.0.0.2 but greeting failed.\nRemote host said: 550 never\n",
}
DIED = b"Connected to 127.0.0.2 but connection died. (#4.4.2)\n"
OUT_OF_STEP = b"127.0.0.2 does not like recipient.\nRemote host said: 354 go\nGiving up on 127.0.0.2.\n"
DUPLICATE = b"Connected to 127.0.0.2 but connection died. Possible duplicate! (#4.4.2)\n"


def refusing(stage: str, reply: str, pipelining: bool) -> Script:
    script: Script = dict(PIPELINING) if pipelining else {}
    script[stage] = reply
    if stage == "ehlo":
        script["helo"] = reply
    if stage in ("mail", "rcpt") and pipelining and reply[0] != "!":
        # As a server does that has no recipient; another would get an empty message without recipients (RFC 2920).
        script["data"] = "503 nobody"
    return script


def offer(remote_home: RemoteHome, script: Script) -> tuple[bytes, bytes, int]:
    with ScriptedServer(script, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        ((letter, text),) = remote_home.deliver(b"r@one.test")
        return letter, text, server.messages


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_soft_error_defers(stage: str, pipelining: bool, remote_home: RemoteHome) -> None:
    letter, text, accepted = offer(remote_home, refusing(stage, "451 later", pipelining))
    assert (letter, accepted) == (b"Z", 0)
    assert text.startswith(SOFT[stage])


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_hard_error_is_final(stage: str, pipelining: bool, remote_home: RemoteHome) -> None:
    letter, text, accepted = offer(remote_home, refusing(stage, "550 never", pipelining))
    # C defers where the name was rejected, however hard.
    assert (letter, accepted) == (b"Z" if stage == "ehlo" else b"D", 0)
    assert text.startswith(HARD[stage])


@pytest.mark.parametrize("trouble", ["!close", "!silent"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_disconnects_or_stays_silent_defers(stage: str, trouble: str, remote_home: RemoteHome) -> None:
    remote_home.control("timeoutremote", "1")
    letter, text, accepted = offer(remote_home, refusing(stage, trouble, True))
    assert (letter, accepted) == (b"Z", 0)
    if trouble == "!silent" and stage in ("mail", "rcpt"):
        # The replies to what was pipelined behind it are taken for one that is missing, until that cannot be.
        assert text == OUT_OF_STEP
    else:
        assert text == (DUPLICATE if stage == "final" else DIED)


@pytest.mark.parametrize("trouble", ["!close", "!silent", "451 later", "550 never"])
def test_the_reply_to_quit_changes_nothing(trouble: str, remote_home: RemoteHome) -> None:
    letter, _, accepted = offer(remote_home, PIPELINING | {"quit": trouble})
    assert (letter, accepted) == (b"K", 1)


def test_a_refused_connection_defers(remote_home: RemoteHome) -> None:
    remote_home.control("smtproutes", ":127.0.0.2:1")
    reason = b" (127.0.0.2 port 1: connection refused)\n"
    assert remote_home.deliver(b"r@one.test") == [
        (b"Z", b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)" + reason),
    ]


@pytest.mark.parametrize("host", [b"two.test", b"many.test"])
def test_the_next_server_gets_the_message_once_when_the_first_refuses(host: bytes, remote_home: RemoteHome) -> None:
    """The best exchangers are not there, or busy; the last one accepts."""
    with ScriptedServer(PIPELINING, host="127.0.0.2") as good:
        remote_home.control("smtproutes", f"::{good.port}")
        with ScriptedServer({"greet": "421 busy"}, host="127.0.0.5", port=good.port) as busy:
            ((letter, _),) = remote_home.deliver(b"r@" + host)
            assert (letter, good.messages, busy.messages) == (b"K", 1, 0)
