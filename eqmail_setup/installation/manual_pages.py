"""The manual pages as they are packaged: rendered before, installed with a checksum header.

Fails: OSError.
"""

import os
from collections.abc import Iterator

from eqmail_setup.templating import template_folder


def manual_folder() -> str:
    """Where they lie."""
    return f"{template_folder()}/manual"


def packaged_pages() -> Iterator[tuple[str, bytes]]:
    """Path below the folder of manuals, such as man8/eqmail.8, and content with the place of the checksum."""
    top = manual_folder()
    for section in sorted(os.listdir(top)):
        for name in sorted(os.listdir(f"{top}/{section}")):
            with open(f"{top}/{section}/{name}", "rb") as file:
                yield f"{section}/{name}", file.read()
