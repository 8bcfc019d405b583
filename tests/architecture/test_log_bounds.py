"""Log lines that others can cause are bounded: modules of services use say_seldom, except those named here."""

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "eqmail_core"
RESIDENT = (
    "event_loop",
    "filters",
    "ipc",
    "local/service",
    "queue/service",
    "remote",
    "scheduler",
    "smtpd/server",
    "supervisor",
)

# Modules that write lines at once, and why others cannot cause many.
AT_ONCE = {
    "queue/service/opening.py": "at a start",
    "queue/service/scheduler_connection.py": "the scheduler is one account, whose connection ends with the line",
    "queue/service/service.py": "at a start, an end, and when the scheduler leaves",
    "smtpd/server/service.py": "at a start and at HUP",
    "supervisor/service_process.py": "the last line of a process",
    "supervisor/start.py": "at a start",
    "supervisor/supervisor.py": "at an end",
}


def writes_at_once(path: Path) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "eqmail_core.system.log"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and any(name.name == "log_line" for name in node.names)
    )


@pytest.mark.parametrize("folder", RESIDENT)
def test_modules_of_services_say_seldom_what_others_cause(folder: str) -> None:
    found = {str(path.relative_to(CORE)) for path in (CORE / folder).rglob("*.py") if writes_at_once(path)}
    assert found <= set(AT_ONCE), "use say_seldom"


def test_the_exceptions_are_needed() -> None:
    assert {name for name in AT_ONCE if not writes_at_once(CORE / name)} == set()
