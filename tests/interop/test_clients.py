"""Clients of other makers send mail to our services, each in every way that it has; docs/interop.md is the table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_clients import (
    BOX,
    CLIENTS,
    SEND_METHODS,
    ClientMailSystem,
    RecordingProxy,
    SendJob,
    client_mail_system,
    table,
)
from tests.support.mail_system import messages, until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mail_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientMailSystem]:
    with client_mail_system(tmp_path_factory.mktemp("clients") / "home") as mail_system:
        yield mail_system


@pytest.mark.parametrize(
    ("name", "method"), [(name, method) for name, client in CLIENTS.items() for method in client.ways]
)
def test_a_message_arrives_as_it_was_sent(
    name: str, method: str, mail_system: ClientMailSystem, tmp_path: Path
) -> None:
    wanted = SEND_METHODS[method]
    subject = f"{name} {method}"
    port = mail_system.port_for(wanted)
    proxy = RecordingProxy(port) if wanted.uses else None
    CLIENTS[name].send(SendJob(proxy.port if proxy else port, wanted, subject, mail_system.authority, tmp_path))
    if proxy:
        proxy.close()
        assert proxy.was_used(wanted.uses), proxy.client_data

    def arrived() -> list[str]:
        return [text for text in messages(mail_system.home / "alias/Maildir") if f"\nSubject: {subject}\n" in text]

    until(arrived, f"the message; the log says:\n{mail_system.log()[-2000:]}")
    (text,) = arrived()
    body = text.split("\n\n", 1)[1]
    assert body.rstrip() == "one\n.two\n..\nend"
    assert f"Delivered-To: {BOX}\n" in text
    assert f"\n  by mail.example.org with {CLIENTS[name].received(method)}" in text
    who = f"{wanted.user}@" if wanted.auth else ""
    assert f" ({who}127.0.0.1)\n" in text


def test_the_document_has_this_table() -> None:
    assert table() in (ROOT / "docs/interop.md").read_text(), "render it with: python -m tests.support.mail_clients"
