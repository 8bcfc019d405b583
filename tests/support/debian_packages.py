"""python -m tests.support.debian_packages: fetch what tests/interop unpacks, so that no test needs the network.

Exits 0 also where a package cannot be had: its tests say so.
"""

import subprocess
import sys

from tests.support.foreign_servers import PACKAGES, fetch


def main() -> None:
    """Fetch every package that is not there yet; a line for each that cannot be had."""
    for package in PACKAGES:
        try:
            fetch(package)
        except (AssertionError, OSError, subprocess.SubprocessError) as trouble:
            print(f"test: cannot fetch the package {package}, so its tests are skipped: {trouble}", file=sys.stderr)


if __name__ == "__main__":
    main()
