"""TLS errors as one line of text, without source locations of the library.

Fails: never; the library leaves out the reason of some errors, or even the attribute for it.
"""

import re
import ssl

_PLACE = re.compile(r"\A\[[^]]*\] ?| ?\(_ssl\.c:[0-9]+\)\Z")


def tls_error_text(error: Exception) -> str:
    """Return the reason of an error of any kind."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = getattr(error, "reason", None)
    if isinstance(error, ssl.SSLError) and reason:
        return str(reason).lower().replace("_", " ")
    text = getattr(error, "strerror", None) or (error.args[-1] if error.args else error)
    return _PLACE.sub("", " ".join(str(text).split())).rstrip(".")
