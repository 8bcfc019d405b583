"""All targets by name."""

from tests.fuzz.machines import machines
from tests.fuzz.parsers import parsers

TARGETS = dict([*machines(), *parsers()])
