"""Reads the administrator's lists that control the generation of users/assign.

Source: delivery.md 5.3; qmail-pw2u(8).
"""

import os

from eqmail_core.system.files import read_file
from eqmail_core.text.lines import key_values, non_empty_lines
from eqmail_core.users.pw2u import AssignRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.site import Site


def read_assign_rules(site: "Site") -> AssignRules:
    """Read the rules of a site from include, exclude, mailnames, subusers and append.

    Fails: OSError.
    """

    def content(name: str) -> bytes | None:
        return read_file(f"{site.users}/{name}")

    rules = AssignRules(os.fsencode(site.accounts.user("alias")), site.break_char)
    rules.include = _names(content("include"))
    rules.exclude = _names(content("exclude"))
    rules.mail_names = key_values(non_empty_lines(content("mailnames") or b""))
    rules.subusers = (content("subusers") or b"").split(b"\n")
    rules.append = content("append") or b""
    return rules


def _names(text: bytes | None) -> set[bytes] | None:
    return None if text is None else {name.lower() for name in non_empty_lines(text)}
