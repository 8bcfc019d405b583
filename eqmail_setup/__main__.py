"""`python -m eqmail_setup` is the command `eqmail`."""

from eqmail_setup.cli.app import main

main()
