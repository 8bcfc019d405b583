"""Sign a message with DKIM: relaxed/relaxed, SHA-256, one field per key, with t= and without l=.

Fields that a message has once are named once more than they are there, so that none can be added (oversigning).

Source: RFC 6376 sections 5 and 8.15; RFC 8463 (both algorithms side by side).
"""

import base64

from eqmail_core.mail_auth.canonical import RELAXED
from eqmail_core.mail_auth.dkim_key import algorithm_of, sign_digest
from eqmail_core.mail_auth.signed_header import HeaderIndex, signed_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from eqmail_core.mail_auth.dkim_key import PrivateKey

ONCE = (
    b"From",
    b"Sender",
    b"Reply-To",
    b"To",
    b"Cc",
    b"Subject",
    b"Date",
    b"Message-ID",
    b"In-Reply-To",
    b"References",
    b"MIME-Version",
    b"Content-Type",
    b"Content-Transfer-Encoding",
)
"""Fields that a message has at most once; named once more than they are there."""

IF_PRESENT = (
    b"Content-ID",
    b"Content-Description",
    b"Content-Disposition",
    b"Content-Language",
    b"List-Id",
    b"List-Help",
    b"List-Unsubscribe",
    b"List-Unsubscribe-Post",
    b"List-Subscribe",
    b"List-Post",
    b"List-Owner",
    b"List-Archive",
)
"""Fields that are signed as often as they are there."""

MAX_REPEATED = 16
"""Most fields of one name that are signed; a message with more of one is no ordinary one."""

_WIDTH = 76


def signed_names(index: HeaderIndex) -> list[bytes]:
    """Return the names for h=, each as often as it is to be there."""
    names = []
    for name in ONCE:
        names += [name] * (min(len(index.named(name.lower())), MAX_REPEATED) + 1)
    for name in IF_PRESENT:
        names += [name] * min(len(index.named(name.lower())), MAX_REPEATED)
    return names


class DkimSigningKey:
    """A private key with the domain and selector under which its public part is published."""

    __slots__ = ("domain", "key", "selector")

    def __init__(self, domain: bytes, selector: bytes, key: "PrivateKey") -> None:
        self.domain = domain
        self.selector = selector
        self.key = key


def sign(
    fields: "Sequence[bytes]",
    body_hash: bytes,
    keys: "Sequence[DkimSigningKey]",
    now: int,
    forms: tuple[bytes, bytes] = (RELAXED, RELAXED),
) -> list[bytes]:
    """Return one DKIM-Signature field per key, each with its LF.

    `fields`: the header fields, each with its LF. `body_hash`: of the body in the second form. `now`: seconds since
    the epoch.
    """
    index = HeaderIndex(fields)
    names = signed_names(index)
    return [_sign_once(index, names, body_hash, key, now, forms) for key in keys]


def _sign_once(
    index: HeaderIndex,
    names: list[bytes],
    body_hash: bytes,
    key: DkimSigningKey,
    now: int,
    forms: tuple[bytes, bytes],
) -> bytes:
    first = b"v=1; a=%b; c=%b/%b; d=%b;" % (algorithm_of(key.key), *forms, key.domain)
    lines = [
        b"DKIM-Signature: " + first,
        b"s=%b; t=%d; bh=%b;" % (key.selector, now, base64.b64encode(body_hash)),
        *_folded_names(names),
        b"b=",
    ]
    unsigned = b"\n\t".join(lines)
    digest = signed_digest(index.select(names), unsigned + b"\n", forms[0])
    data = base64.b64encode(sign_digest(key.key, digest))
    pieces = [data[at : at + _WIDTH - 4] for at in range(0, len(data), _WIDTH - 4)]
    return unsigned + b"\n\t ".join(pieces) + b"\n"


def _folded_names(names: list[bytes]) -> list[bytes]:
    """Return h= in lines of a readable width."""
    lines = [b"h=" + names[0]]
    for name in names[1:]:
        if len(lines[-1]) + len(name) + 2 > _WIDTH:
            lines[-1] += b":"
            lines.append(name)
        else:
            lines[-1] += b":" + name
    lines[-1] += b";"
    return lines
