"""Layers: imports go to lower ranks only, pure modules do no I/O, third-party code enters where it may."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "eqmail_core"
TOOLKIT = ROOT / "eqmail_setup"

RANKS = {
    0: "coroutines outcome text mail site",
    1: "control dns dsn ipc",
    2: "mail_auth system",
    3: "access auth event_loop mailbox reports service spawn tcpserver tls tools users",
    4: "filters queue smtp",
    5: "inject pop3 qmtp remote scheduler smtpd",
    6: "local",
    7: "supervisor",
    8: "programs",
}
RANK = {package: rank for rank, packages in RANKS.items() for package in packages.split()}

# Modules that get everything as arguments: no files, sockets, clocks, processes.
PURE = """
coroutines outcome text/* mail/* site/site site/layout site/accounts site/site_file
control/* auth/client auth/checkpassword auth/scram auth/secrets_file auth/responses auth/credentials
dns/query dns/mx dns/tlsa dns/validation
dns/parallel dns/dnsbl_zone dsn/* ipc/*_protocol access/rcpthosts access/badmailfrom access/networks
mailbox/maildirsize users/user users/lookup users/assign_file users/pw2u spawn/protocol
tls/client_policy tls/policy tls/dane tls/mta_sts tls/session_info
mail_auth/* tcpserver/rules tcpserver/options
queue/routing queue/format/* queue/admin/filter queue/postgres/homes queue/postgres/stored_message scheduler/destination
scheduler/destination_queues scheduler/retry_schedule scheduler/due_queue
smtp/path smtp/data smtp/exchange smtp/reply_reader smtp/session_initiation smtp/client smtp/lmtp_client
filters/verdict filters/transaction filters/message filters/milter/*
smtpd/protocol/* smtpd/policy/* qmtp/protocol pop3/authorisation pop3/protocol pop3/message_encoder
inject/header_rewriter inject/host_defaults inject/originator inject/sendmail_options
remote/routes remote/plan remote/report remote/tcpto_table
local/delivery/dotqmail local/delivery/request local/delivery/lmtp_command local/delivery/report local/service/protocol
reports/dmarc_rows reports/dmarc_xml reports/destinations reports/report_message
tools/receipt tools/terminals tools/syslog_lines
""".split()
PURE_MODULES_MAY_NOT = {"os", "socket", "random", "asyncio", "logging", "time", "subprocess", "select", "fcntl"}
# mail/dates renders a time that it is given; it needs the calendar of `time`, never its clock.
PURE_EXCEPTIONS = {("mail/dates", "time")}

THIRD_PARTY = {
    "uvloop": "event_loop",
    "setproctitle": "system",
    "dns": "dns",
    "cdbx": "system",
    "cryptography": "auth mail_auth tls smtp",
    "idna": "text mail dns",
    "psycopg": "queue",
    "publicsuffixlist": "dns",
}
TOOLKIT_MAY_USE = set(RANK) - {"programs"}
# What people see is made in one place.
ONLY_IN_CLI = {"click", "rich"}

# What is left of the old layout; these lists only get shorter.
KNOWN_CYCLES = []
Imports = dict[str, set[str]]


def modules(top: Path = CORE) -> list[Path]:
    return sorted(top.rglob("*.py"))


def short(path: Path, top: Path = CORE) -> str:
    return str(path.relative_to(top).with_suffix(""))


def package_of(path: Path, top: Path = CORE) -> str:
    parts = path.relative_to(top).with_suffix("").parts
    return parts[0] if parts != ("__init__",) else ""


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, wherever in the file, also those for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                found.add(f"{node.module}.{alias.name}" if inner.exists() else node.module)
    return found


def is_pure(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PURE)


def test_every_package_has_a_rank() -> None:
    found = {package_of(path) for path in modules()} - {""}
    assert found == set(RANK)


def test_every_package_is_installed() -> None:
    """The list in pyproject.toml is that of the folders."""
    found = {".".join(path.parent.relative_to(ROOT).parts) for top in (CORE, TOOLKIT) for path in top.rglob("*.py")}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) - {"eqmail_setup.templates"} == found


@pytest.mark.parametrize("path", modules(), ids=short)
def test_imports_go_downward(path: Path) -> None:
    package = package_of(path)
    wrong = []
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "eqmail_setup":
            wrong.append(name)
        if parts[0] != "eqmail_core" or len(parts) == 1 or not package or parts[1] == package:
            continue
        if RANK[parts[1]] >= RANK[package]:
            wrong.append(name)
    assert not wrong, f"{package} may not import {wrong}"


def graph(top: Path) -> Imports:
    """Which module imports which, of one tree; a package stands for its __init__."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in modules(top)
    }
    return {
        name: {found for found in imports(path) if found in names and found != name} for name, path in names.items()
    }


def cycles(edges: Imports) -> Iterator[list[str]]:
    """Strongly connected groups of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                yield sorted(group)

    for name in sorted(edges):
        if name not in index:
            yield from visit(name)


@pytest.mark.parametrize("top", [CORE, TOOLKIT], ids=lambda top: top.name)
def test_no_modules_import_each_other(top: Path) -> None:
    assert [group for group in cycles(graph(top)) if group not in KNOWN_CYCLES] == []


def test_services_meet_only_over_sockets() -> None:
    """A service is imported by the list of services alone."""
    services = {
        "queue.service.service",
        "scheduler.service",
        "remote.service",
        "local.service.spawner",
        "smtpd.server.service",
    }
    wrong = []
    for path in modules():
        if package_of(path) in ("supervisor", "programs"):
            continue
        wrong += [
            f"{short(path)} imports {name}" for name in imports(path) if name.removeprefix("eqmail_core.") in services
        ]
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=short)
def test_third_party_code_enters_where_it_may(path: Path) -> None:
    package = package_of(path)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "eqmail_core" or top in sys.stdlib_module_names:
            continue
        assert package in THIRD_PARTY.get(top, "").split(), f"{top} may not be imported in {package}"


def test_pure_modules_do_no_io() -> None:
    wrong = []
    for path in modules():
        name = short(path)
        if not is_pure(name):
            continue
        tops = {found.split(".")[0] for found in imports(path)}
        wrong += [f"{name}: {top}" for top in tops & PURE_MODULES_MAY_NOT if (name, top) not in PURE_EXCEPTIONS]
    assert not wrong


def test_every_pattern_of_pure_modules_matches_one() -> None:
    names = [short(path) for path in modules()]
    assert [pattern for pattern in PURE if not any(fnmatch(name, pattern) for name in names)] == []


def test_the_toolkit_uses_no_program() -> None:
    wrong = []
    for path in modules(TOOLKIT):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "eqmail_core" and len(parts) > 1 and parts[1] not in TOOLKIT_MAY_USE:
                wrong.append(f"{short(path, TOOLKIT)}: {name}")
    assert not wrong


def test_only_the_command_line_knows_click_and_rich() -> None:
    wrong = []
    for path in modules(TOOLKIT):
        name = short(path, TOOLKIT)
        if name.startswith("cli/"):
            continue
        tops = {found.split(".")[0] for found in imports(path)}
        wrong += [f"{name}: {top}" for top in tops & ONLY_IN_CLI]
    assert not wrong


def test_the_toolkit_imports_downward() -> None:
    """The command line knows the domains; a domain never knows the command line."""
    wrong = []
    for path in modules(TOOLKIT):
        name = short(path, TOOLKIT)
        if name.startswith(("cli/", "__main__", "legacy/")):
            continue
        wrong += [f"{name}: {found}" for found in imports(path) if found.startswith("eqmail_setup.cli")]
    assert not wrong


MOST_IN_A_PACKAGE = 25


@pytest.mark.parametrize("top", [CORE, TOOLKIT], ids=lambda top: top.name)
def test_a_package_has_few_modules(top: Path) -> None:
    """`programs` has one module for each program, `cli/commands` one for each command."""
    wrong = []
    for folder in sorted({path.parent for path in modules(top)}):
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        if count > MOST_IN_A_PACKAGE and folder.name not in ("programs", "commands"):
            wrong.append(f"{folder.relative_to(ROOT)}: {count}")
    assert not wrong


def test_modules_have_the_size_of_a_thought() -> None:
    """Nothing above 500 lines; above 300 the module docstring says why it is long."""
    wrong = []
    for path in [*modules(), *modules(TOOLKIT)]:
        lines = path.read_text().count("\n")
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        if lines > 500 or (lines > 300 and "Long because" not in doc):
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines")
    assert not wrong


def test_programs_are_thin() -> None:
    wrong = [
        f"{path.name}: {count} lines"
        for path in sorted((CORE / "programs").glob("*.py"))
        if (count := path.read_text().count("\n")) > 60
    ]
    assert not wrong


# Their private names are the system's, or those of another value of the same class.
_MAY_BE_PRIVATE = {"_exit", "_key", "_NamedFuncPointer", "_replace", "_sslobj"}


@pytest.mark.parametrize("path", modules(), ids=short)
def test_private_fields_are_those_of_the_object_itself(path: Path) -> None:
    wrong = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in _MAY_BE_PRIVATE
        and isinstance(node.value, ast.Name)
        and node.value.id not in ("self", "cls")
        and not node.value.id.lstrip("_")[0].isupper()  # a table of methods names them by their class
    ]
    assert not wrong


def test_decisions_about_smtp_clients_read_no_variable() -> None:
    """The environment is read by `authority` and rendered for children; others would decide on a stale copy."""
    may = {"authority.py", "config.py"}
    policy = [path for path in sorted((CORE / "smtpd/policy").glob("*.py")) if path.name not in may]
    read = re.compile(r"environ(\(\))?(\[|\.get|\.pop)|in \S*environ\b")
    assert [f"{path.name}: {found[0]}" for path in policy if (found := read.search(path.read_text()))] == []
