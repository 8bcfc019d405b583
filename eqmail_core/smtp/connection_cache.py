"""Idle SMTP connections, kept for the next message to the same server.

Source: RFC 5321 section 4.1.1.4 (several messages in one session).
"""

from eqmail_core.smtp.async_client import ClientConnection


class ConnectionCache:
    """Idle sessions by destination; each is kept for a short time, and their total is bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._by_key: dict[object, list[ClientConnection]] = {}

    def __len__(self) -> int:
        return self._count

    def take(self, key: object) -> ClientConnection | None:
        """Remove and return the most recently used session to a destination, or None."""
        sessions = self._by_key.get(key)
        if not sessions:
            return None
        session = sessions[-1]
        self._drop(key, session)
        session.on_close = None
        return session

    def put(self, key: object, session: ClientConnection, until: float) -> None:
        """Keep an idle session until the loop's time `until`."""
        if self._count >= self._limit:
            session.close_when_idle()
            return
        session.deadline = until
        session.on_close = lambda closed: self._drop(key, closed)
        self._by_key.setdefault(key, []).append(session)
        self._count += 1

    def _drop(self, key: object, session: ClientConnection) -> None:
        sessions = self._by_key[key]
        sessions.remove(session)
        self._count -= 1
        if not sessions:
            del self._by_key[key]
