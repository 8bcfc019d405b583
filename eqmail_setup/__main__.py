"""`python -m eqmail_setup` is the command `eqmail`."""

from eqmail_setup.cli import main

main()
