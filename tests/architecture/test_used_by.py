"""What declarations say of their readers is what the code reads: reference pages and reload advice are made of it."""

import ast
from pathlib import Path

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ALL, CHKPW, INJECT, LMTP, LOCAL, POPUP, QMTPD, QUEUE, REMOTE, SEND, SMTPD, START

CORE = Path(__file__).resolve().parents[2] / "eqmail_core"

READERS = {
    "filters/chain.py": (SMTPD,),
    "inject/qmail_inject.py": (INJECT,),
    "smtpd/server/auth_methods.py": (SMTPD,),
    "smtpd/server/config_reader.py": (SMTPD,),
    "programs/qmail_bfque.py": ("qmail-bfque",),
    "programs/qmail_bfrmt.py": ("qmail-bfrmt",),
    "programs/qmail_newmrh.py": ("qmail-newmrh",),
    "programs/qmail_pwrap.py": ("qmail-pwrap",),
    "programs/qmail_qmqpc.py": ("qmail-qmqpc",),
    "programs/qmail_qmtpd.py": (QMTPD,),
    "pop3/mailbox_owner.py": (CHKPW,),
    "pop3/tls_settings.py": (POPUP,),
    "tls/server_files.py": (SMTPD, POPUP),
    "local/delivery/lmtp.py": (LMTP,),
    "local/delivery/program.py": (LOCAL,),
    "local/delivery/set_aside.py": (LOCAL,),
    "queue/service/service.py": (QUEUE,),
    "queue/service/opening.py": (QUEUE,),
    "queue/service/limiter_opening.py": (QUEUE,),
    "queue/limits/notice.py": (QUEUE,),
    "queue/postgres/opening.py": (QUEUE,),
    "queue/return_paths.py": (SMTPD, REMOTE),
    "remote/qmail_remote.py": (REMOTE,),
    "remote/settings.py": (REMOTE,),
    "remote/signing.py": (REMOTE,),
    "remote/tls_policy.py": (REMOTE,),
    "scheduler/core.py": (SEND,),
    "smtpd/server/service.py": (SMTPD,),
    "smtpd/server/service_settings.py": (SMTPD,),
    "smtpd/server/stdio_server.py": (SMTPD,),
    "supervisor/services.py": (START,),
    "supervisor/start.py": (START,),
    "tools/splogger.py": (START,),
    "access/morercpthosts.py": (SMTPD, QMTPD),
}
"""Who runs each module that reads settings."""

NOT_FOR_SERVICES = {
    "queue/admin/control.py",
    "queue/admin/shared.py",
    "programs/qmail_showctl.py",
    "programs/qmail_shcfg.py",
}
"""Modules that look at settings for people: they do not count as readers."""

OF_SCRIPTS = {
    "defaultdelivery": (START,),  # start scripts pass it as the first word
    "servercert_cnf": ("mksrvrcerts",),  # a command of the toolkit
}
"""Settings that get to their readers by other ways than the code of the core, and these readers."""

WRITTEN = {("programs/qmail_newmrh.py", "morercpthosts_cdb")}
"""Names that a module has only because it writes the file."""


def names_in(path: Path) -> set[str]:
    """The settings that a module names as attributes of settings, whatever it calls these."""
    tree = ast.parse(path.read_text())
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_settings(node.value)} & set(
        Controls.declared()
    )


def _is_settings(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "read_controls"
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.strip("_") in ("controls", "Controls", "fresh")


def test_every_module_that_reads_settings_has_its_readers_here() -> None:
    found = {str(path.relative_to(CORE)) for path in CORE.rglob("*.py") if names_in(path)}
    found = {name for name in found if not name.startswith("control/")}
    assert found - NOT_FOR_SERVICES == set(READERS)


def test_declared_and_real_readers_are_the_same() -> None:
    real: dict[str, set[str]] = {name: set(OF_SCRIPTS.get(name, ())) for name in Controls.declared()}
    for module, readers in READERS.items():
        for name in names_in(CORE / module):
            if (module, name) not in WRITTEN:
                real[name] |= set(readers)
    for name, control in Controls.declared().items():
        chosen_by = getattr(control, "_choice", None)
        if chosen_by is not None:  # it decides about the default of this one
            real[chosen_by.name] |= real[name]
    real["me"] = set(ALL)
    declared = {name: set(control.used_by) for name, control in Controls.declared().items()}
    differing = {name: (declared[name], real[name]) for name in declared if declared[name] != real[name]}
    assert not differing, "declared, real"
