"""The folder of a Maildir for messages that are set aside: those whose header says X-Spam-Flag: YES.

The SMTP server writes that for a DMARC policy of quarantine, and filters for spam.

Fails: never; without the folder a message goes to the Maildir itself.
Source: control file authfolder; the Maildir++ description of Courier.
"""

import os

from eqmail_core.control.setting import ControlError
from eqmail_core.local.delivery.request import SET_ASIDE_FLAG
from eqmail_core.system.installation import read_controls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_core.system.message_file import MessageFile


def folder_for(site: "Site", maildir: bytes, message: "MessageFile") -> bytes:
    """Return the Maildir that a message goes to: `maildir`, or its folder for what is set aside, if that exists."""
    head = message.head
    end = head.find(b"\n\n")
    if head.find(SET_ASIDE_FLAG, 0, end + 1 if end >= 0 else len(head)) < 0:
        return maildir
    try:
        name = (read_controls(site).authfolder or b"").lstrip(b".")
    except ControlError:
        return maildir
    if not name or b"/" in name or b"\0" in name:
        return maildir
    folder = b"%b/.%b/" % (maildir.rstrip(b"/"), name)
    return folder if os.path.isdir(folder + b"new") else maildir
