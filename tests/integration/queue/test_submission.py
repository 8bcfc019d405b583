"""An injector's end of the queue wire: what it makes of a service that does not answer."""

from pathlib import Path

import pytest

from eqmail_core.ipc.packet_socket import listen_at
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client import submission
from eqmail_core.queue.client.submission import QueueSubmission, connect
from eqmail_core.queue.format.exit_codes import TIMED_OUT


def test_a_service_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "TIMEOUT_S", 0.05)
    path = str(tmp_path / "queue.sock")
    with listen_at(path, 0o600):  # its backlog accepts connections that are never served
        sock = connect(path)
        assert sock is not None
        sent = QueueSubmission(sock)
        sent.write(b"a message\n")
        assert sent.commit(Envelope(b"", [b"joe@example.org"]).render()) == TIMED_OUT
        sent.close()


def test_a_long_message_to_a_silent_service_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "TIMEOUT_S", 0.05)
    path = str(tmp_path / "queue.sock")
    with listen_at(path, 0o600):
        sock = connect(path)
        assert sock is not None
        sent = QueueSubmission(sock)
        with pytest.raises(TimeoutError):
            for _ in range(100):
                sent.write(b"x" * 1_000_000)
        sent.close()
