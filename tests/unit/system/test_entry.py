"""What the door of the programs lets through."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = f"""
import os, sys
sys.path.append({str(ROOT)!r})
from eqmail_core.system.entry import enter

def main(argv, environ):
    assert environ.get(b"LC_CTYPE") == os.environb.get(b"LC_CTYPE")
    os.execve("/usr/bin/env", ["env"], environ)

enter(main, "/home/of/mail")
"""


@pytest.mark.parametrize(
    "given", [{}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}, {"LC_CTYPE": "C.utf8", "A": "b"}, {"LC_ALL": "C"}]
)
def test_programs_start_others_with_the_locale_that_they_were_given(given: dict[str, str]) -> None:
    command = [sys.executable, "-IS", "-c", CODE]
    run = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in run.stdout.splitlines())
    assert found == given | {"EQMAIL_HOME": "/home/of/mail"}
