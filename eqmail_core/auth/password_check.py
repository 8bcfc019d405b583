"""Checks credentials against the secrets of an installation, users/smtpauth, and makes such secrets.

Fails: OSError where the file cannot be read.
"""

import os

from eqmail_core.auth.checkpassword import ACCEPTED, MAX_BYTES
from eqmail_core.auth.credentials import Credentials
from eqmail_core.auth.crypt import crypted, new_setting
from eqmail_core.auth.responses import is_login
from eqmail_core.auth.secrets_file import FILE, entries, find_secret
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, read_upto


def check_login(site: Site, credentials: Credentials, challenge_is_optional: bool) -> bool | None:
    """Return whether they are right; None where the file does not exist.

    `challenge_is_optional`: a password is right too although there is a challenge, as POP3 has for PASS and APOP.
    """
    text = read_file(f"{site.users}/{FILE}")
    if text is None:
        return None
    secret = find_secret(text, credentials.user)
    others = [other for _, other in entries(text)]
    challenges = [credentials.challenge]
    if challenge_is_optional and credentials.challenge:
        challenges.append(b"")
    return any(is_login(credentials.password, challenge, secret, others, crypted) for challenge in challenges)


def write_hash(asks: bool) -> int:
    """Write the crypt string of a password to standard error; the exit code.

    `asks`: read the password from the terminal, else from standard input.
    """
    import getpass

    password = os.fsencode(getpass.getpass("Password: ")) if asks else read_upto(0, MAX_BYTES).partition(b"\n")[0]
    made = crypted(password, new_setting())
    if made is None:
        return EXIT_TEMPORARY
    os.write(2, made + b"\n")
    return ACCEPTED
