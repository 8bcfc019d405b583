"""tcprules of ucspi-tcp and ours: the same bytes from the same rules, and its tcprulescheck reads what ours has made.

The grammars agree except for our extensions: addresses with a colon (IPv6), networks (/), and lines that are no rule,
which ours refuses and ucspi-tcp's passes over.
"""

import os
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.tcpserver.rules_database import compile_rules, find_rule

pytestmark = pytest.mark.skipif(shutil.which("tcprulescheck") is None, reason="needs ucspi-tcp")

_NUMBERS = st.integers(0, 300).map(str)
_IPS = st.lists(_NUMBERS, min_size=4, max_size=4).map(".".join)
_PREFIXES = st.lists(_NUMBERS, min_size=1, max_size=3).map(lambda parts: ".".join(parts) + ".")
_RANGES = st.tuples(
    st.one_of(st.just(""), _PREFIXES), _NUMBERS, _NUMBERS, st.sampled_from(["", ".", ".7", ".7.9"])
).map(lambda parts: f"{parts[0]}{parts[1]}-{parts[2]}{parts[3]}")
_LABELS = st.text("abcz0-_", min_size=1, max_size=4)
_HOSTS = st.lists(_LABELS, min_size=1, max_size=3).map(".".join)
_NAMED = st.one_of(_HOSTS.map("={}".format), _HOSTS.map("=.{}".format), st.just("="))
_USERS = st.tuples(st.text("abc-", min_size=1, max_size=4), st.one_of(_IPS, _NAMED)).map("@".join)
_ADDRESSES = st.one_of(_IPS, _PREFIXES, _RANGES, _NAMED, _USERS, st.just(""))
_VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\0\n"), max_size=12)


@st.composite
def _settings(draw: st.DrawFn) -> str:
    """A variable, its value between two equal signs of any kind."""
    name = draw(st.text("ABCXYZ_ -,", min_size=1, max_size=6))
    quote = draw(st.sampled_from("\"'/|x%"))
    return f",{name}={quote}{draw(_VALUES).replace(quote, '')}{quote}"


@st.composite
def _lines(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(["", " ", "# a comment", "#1.2.3.4:deny", "\t "]))
    verdict = draw(st.sampled_from(["allow", "deny"]))
    settings = draw(st.lists(_settings(), max_size=3))
    return f"{draw(_ADDRESSES)}:{verdict}{''.join(settings)}" + draw(st.sampled_from(["", " ", "\t", " \t "]))


FILES = st.tuples(st.lists(_lines(), max_size=12).map("\n".join), st.sampled_from(["", "\n"])).map("".join)
CLIENTS = st.tuples(_IPS, st.one_of(st.none(), _HOSTS), st.one_of(st.none(), st.text("abc-", min_size=1, max_size=4)))


def _theirs(folder: Path, rules: bytes) -> bytes:
    target = folder / "theirs.cdb"
    done = subprocess.run(["tcprules", target, folder / "theirs.tmp"], input=rules, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return target.read_bytes()


def _ours(folder: Path, rules: bytes) -> bytes:
    target = folder / "ours.cdb"
    compile_rules(str(target), str(folder / "ours.tmp"), BytesIO(rules))
    return target.read_bytes()


def _checked(database: Path, ip: str, host: str | None, info: str | None) -> tuple[bool, dict[bytes, bytes]]:
    """Whether a client is refused, and its variables, according to tcprulescheck."""
    reported = (
        {"TCPREMOTEIP": ip} | ({"TCPREMOTEHOST": host} if host else {}) | ({"TCPREMOTEINFO": info} if info else {})
    )
    environ = {"PATH": os.environ["PATH"]} | reported
    done = subprocess.run(["tcprulescheck", database], env=environ, capture_output=True, check=True)
    _, *lines = done.stdout.split(b"\n")
    words = [line.removeprefix(b"set environment variable ") for line in lines if line.startswith(b"set ")]
    return b"deny connection" in lines, dict(word.split(b"=", 1) for word in words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules")


@given(FILES)
def test_the_same_rules_give_the_same_bytes(folder: Path, rules: str) -> None:
    text = rules.encode("latin-1")
    assert _ours(folder, text) == _theirs(folder, text)


@given(FILES, CLIENTS)
def test_tcprulescheck_reads_ours_as_we_do(
    folder: Path, rules: str, client: tuple[str, str | None, str | None]
) -> None:
    _ours(folder, rules.encode("latin-1"))
    ip, host, info = client
    rule = find_rule(
        str(folder / "ours.cdb"), ip.encode(), host.encode() if host else None, info.encode() if info else None
    )
    denied, variables = _checked(folder / "ours.cdb", ip, host, info)
    assert denied == (rule is not None and rule.denies)
    if not denied:
        assert variables == (rule.variables if rule is not None else {})
