"""What programs that run once per message may import; 10 ms of start-up would be paid for every message."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEAR = {"typing", "dataclasses", "asyncio", "logging", "subprocess", "inspect", "ssl", "tempfile", "socketserver"}
FOREIGN = {"uvloop", "dns", "cdbx", "click", "pydantic", "jinja2", "rich", "idna", "cryptography", "eqmail_setup"}

# Programs that a message may start, and what each may import of the dear modules all the same.
PER_MESSAGE: dict[str, set[str]] = {
    "qmail_queue": set(),
    "qmail_inject": set(),
    "sendmail": set(),
    "forward": set(),
    "condredirect": set(),
    "bouncesaying": set(),
    "except_": set(),
    "preline": set(),
    "qmail_local": set(),
    "qmail_lmtp": set(),
    "maildirmake": set(),
    "predate": set(),
    "datemail": set(),
    "mailsubj": set(),
    "qreceipt": set(),
    "qmail_smtpd": set(),
    "qmail_qmtpd": set(),
    "qmail_qmqpd": set(),
    "qmail_qmqpc": set(),
}


def loaded_by(module: str) -> set[str]:
    code = f"import sys; import {module}; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-ISc", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("program", PER_MESSAGE)
def test_programs_per_message_import_little(program: str) -> None:
    loaded = loaded_by(f"eqmail_core.programs.{program}")
    assert not loaded & (DEAR - PER_MESSAGE[program])
    assert not loaded & FOREIGN


def test_the_toolkit_answers_help_without_its_machinery() -> None:
    """`eqmail --help` loads click, and neither pydantic nor jinja2 nor a service."""
    code = (
        "import sys; sys.argv = ['eqmail', '--help']\n"
        "from eqmail_setup.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in run.stdout.partition("LOADED")[2].split()}
    assert not loaded & {"pydantic", "jinja2", "rich", "uvloop", "asyncio", "publicsuffixlist", "dns"}
