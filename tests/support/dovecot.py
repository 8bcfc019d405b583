"""Debian's Dovecot for a test: LMTP at a socket of its own, IMAP on a port of its own, everything below one folder.

Every mailbox belongs to the user and group `uid` and is `store`/NAME/Maildir; every password is PASSWORD.
"""

import imaplib
import os
import signal
import subprocess
from pathlib import Path

from tests.support.mail_system import free_port, until

PASSWORD = "sesame"

CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
auth_username_format = %Ln
recipient_delimiter = +
mail_location = maildir:~/Maildir
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={store}/%n allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
{more}
"""


class Dovecot:
    """A running Dovecot; `stop` it."""

    def __init__(self, folder: Path, store: Path, uid: int, more: str = "") -> None:
        self.store = store
        self.socket = folder / "lmtp"
        self.port = free_port()
        self._log = folder / "dovecot.log"
        for path in (folder, store):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)
        os.chown(store, uid, uid)
        config = folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                store=store,
                port=self.port,
                password=PASSWORD,
                uid=uid,
                more=more,
            )
        )
        self._process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(config)], stdin=subprocess.DEVNULL, start_new_session=True
        )
        until(lambda: self.socket.exists() and "starting up" in self.log(), "Dovecot")

    def log(self) -> str:
        """Its log."""
        return self._log.read_text() if self._log.exists() else ""

    def messages(self, user: str) -> list[str]:
        """All messages of a user's INBOX, as IMAP shows them."""
        with imaplib.IMAP4("127.0.0.1", self.port) as imap:
            imap.login(user, PASSWORD)
            count = int(imap.select("INBOX")[1][0] or b"0")
            return [
                imap.fetch(str(number), "(BODY.PEEK[])")[1][0][1].decode().replace("\r\n", "\n")  # type: ignore[index, union-attr]
                for number in range(1, count + 1)
            ]

    def stop(self) -> None:
        """TERM, and wait."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) is not None
