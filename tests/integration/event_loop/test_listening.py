"""Listeners of the SMTP service: an invalid line loses its own listener only."""

import pytest

from eqmail_core.supervisor import start
from eqmail_core.supervisor.start import StartError, listen_on, smtp_listeners
from eqmail_core.text.listen_address import ROLES


def test_a_bad_line_loses_its_listener_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = []
    monkeypatch.setattr(start, "listen_on", opened.append)
    smtp_listeners([], [b"127.0.0.1:2525", b"smtp", b"127.0.0.1:25\r", b"tls:[::1]:465"])
    assert opened == ["127.0.0.1:2525", "tls:[::1]:465"]
    output = capfd.readouterr().err.splitlines()
    assert len(output) == 2
    assert output[0].startswith("qmail-start: alert: smtplisten: 'smtp' is not ADDRESS:PORT")
    assert output[1].startswith("qmail-start: alert: smtplisten: '127.0.0.1:25\\r' is not ADDRESS:PORT")


def test_a_bad_address_of_the_command_line_is_refused() -> None:
    with pytest.raises(StartError, match="is not ADDRESS:PORT"):
        smtp_listeners(["smtp"], [])


@pytest.mark.parametrize("word", ROLES)
def test_the_word_before_an_address_is_the_role_of_its_listener(word: str) -> None:
    address = f"{word}:127.0.0.1:{free_port()}".removeprefix(":")
    with listen_on(address) as sock:
        assert sock.role == ROLES[word]
        assert sock.address == address


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
