"""Clients of other makers send mail to our services, each in every way that it has; docs/interop.md is the table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_clients import BOX, CLIENTS, WAYS, ClientHouse, Errand, Tap, client_house, table
from tests.support.mail_system import messages, until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientHouse]:
    with client_house(tmp_path_factory.mktemp("clients") / "home") as house:
        yield house


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, client in CLIENTS.items() for way in client.ways])
def test_a_message_arrives_as_it_was_sent(name: str, way: str, house: ClientHouse, tmp_path: Path) -> None:
    wanted = WAYS[way]
    subject = f"{name} {way}"
    port = house.port_for(wanted)
    tap = Tap(port) if wanted.uses else None
    CLIENTS[name].send(Errand(tap.port if tap else port, wanted, subject, house.authority, tmp_path))
    if tap:
        tap.close()
        assert tap.was_used(wanted.uses), tap.heard

    def arrived() -> list[str]:
        return [text for text in messages(house.home / "alias/Maildir") if f"\nSubject: {subject}\n" in text]

    until(arrived, f"the message; the log says:\n{house.log()[-2000:]}")
    (text,) = arrived()
    body = text.split("\n\n", 1)[1]
    assert body.rstrip() == "one\n.two\n..\nend"
    assert f"Delivered-To: {BOX}\n" in text
    assert f"\n  by mail.example.org with {CLIENTS[name].received(way)}" in text
    who = f"{wanted.user}@" if wanted.auth else ""
    assert f" ({who}127.0.0.1)\n" in text


def test_the_document_has_this_table() -> None:
    assert table() in (ROOT / "docs/interop.md").read_text(), "render it with: python -m tests.support.mail_clients"
