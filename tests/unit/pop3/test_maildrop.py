"""What POP3 serves of a Maildir, whose owner may change it meanwhile."""

from pathlib import Path

import pytest

from eqmail_core.pop3.maildrop import MaildropFile, open_message


@pytest.mark.parametrize("target", ["/dev/zero", "."])
def test_a_message_that_has_become_something_else_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "message").symlink_to(target)
    with pytest.raises(OSError, match="no regular file"):
        open_message(MaildropFile(b"message", 5))
