"""What programs that run once per message may import; 10 ms of start-up would be paid for every message."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEAR = set("typing dataclasses asyncio logging subprocess inspect ssl tempfile socketserver re enum socket".split())
FOREIGN = {
    "uvloop",
    "setproctitle",
    "dns",
    "cdbx",
    "click",
    "pydantic",
    "jinja2",
    "rich",
    "idna",
    "cryptography",
    "eqmail_setup",
}

# Programs that a message may start, and how many modules of ours each begins with: what it has, and no more.
PER_MESSAGE = {
    "qmail_queue": 27,
    "qmail_inject": 42,
    "sendmail": 43,
    "mailsubj": 42,
    "forward": 27,
    "condredirect": 29,
    "bouncesaying": 18,
    "except_": 18,
    "preline": 19,
    "predate": 19,
    "datemail": 20,
    "qreceipt": 33,
    "maildirmake": 16,
    "qmail_local": 46,
    "qmail_lmtp": 46,
    "qmail_smtpd": 17,
    "tcp_env": 22,
    "qmail_qmtpd": 52,
    "qmail_qmqpd": 32,
    "qmail_qmqpc": 29,
}
# What they may import of the dear modules all the same.
ALLOWED = {"qmail_lmtp": {"re", "enum", "socket"}}


def loaded_by(program: str) -> set[str]:
    begin = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    code = f"{begin}; import eqmail_core.programs.{program}, eqmail_core.system.entry; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("program", PER_MESSAGE)
def test_programs_per_message_import_little(program: str) -> None:
    loaded = loaded_by(program)
    tops = {name.split(".")[0] for name in loaded}
    assert not tops & (DEAR - ALLOWED.get(program, set()))
    assert not tops & FOREIGN
    ours = sorted(name for name in loaded if name.split(".")[0] == "eqmail_core")
    assert len(ours) <= PER_MESSAGE[program], ours


def test_a_client_that_qmail_smtpd_serves_itself_costs_no_dear_module() -> None:
    """The program loads its own session where no service takes its client; ssl and the like only when a client asks."""
    begin = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    code = f"{begin}; import eqmail_core.smtpd.server.stdio_server; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in run.stdout.split()} & (DEAR | FOREIGN | {"collections", "functools"})


def test_the_toolkit_answers_help_without_its_machinery() -> None:
    """`eqmail --help` loads click, and neither pydantic nor jinja2 nor a service."""
    code = (
        "import sys; sys.argv = ['eqmail', '--help']\n"
        "from eqmail_setup.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in run.stdout.partition("LOADED")[2].split()}
    assert not loaded & {"pydantic", "jinja2", "rich", "uvloop", "asyncio", "publicsuffixlist", "dns"}
