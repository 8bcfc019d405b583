"""The listening sockets of the SMTP service."""

import socket

from eqmail_core.text.listen_address import ROLES, TRANSFER

_WORDS = {role: f"{word}:" if word else "" for word, role in ROLES.items()}


class SmtpListener(socket.socket):
    """A listening TCP socket with the role that its clients have."""

    role = TRANSFER

    @property
    def address(self) -> str:
        """Its listen address, as control/smtplisten has it.  Fails: OSError."""
        host, port = self.getsockname()[:2]
        return f"{_WORDS[self.role]}{f'[{host}]' if ':' in host else host}:{port}"
