"""Every source that a docstring cites can be found: a page of docs, an RFC, a manual page, or a file of C (e)qmail."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs/spec"
PAGE = re.compile(r"([\w-]+\.md)((?: \d+(?:\.\d+)*(?:,| to|-|;|\.)?)*)")
SECTION = re.compile(r"\d+(?:\.\d+)*")
# What a source may be, besides a page of docs/.
KNOWN = re.compile(
    r"RFC \d+|ADR \d+|\b[\w.+-]+\(\d\)|\b[\w-]+\.[ch]\b|\bcr\.yp\.to\b|\bhaproxy\.org\b|INTERNALS|docs/|"
    r"libmilter|MILTER_README|daemontools|Courier|Life with qmail|eqmail_|\btests/|control file|sendmail|"
    r"libsrs2|draft-[a-z0-9-]+"
)


def docstrings() -> Iterator[tuple[str, str]]:
    for top in ("eqmail_core", "eqmail_setup"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node) or ""
                    for found in re.finditer(r"Source: (.*?)(?:\n\n|\Z)", text, re.DOTALL):
                        name = getattr(node, "name", "")
                        yield f"{path.relative_to(ROOT)}:{name}", " ".join(found[1].split())


def pages() -> dict[str, Path]:
    return {path.name: path for path in (ROOT / "docs").rglob("*.md")}


def missing_sections(page: Path, sections: str) -> list[str]:
    """Sections that a page of docs/spec has no heading for."""
    if page.parent != SPEC:
        return []
    headings = re.findall(r"^#+ (\d+(?:\.\d+)*)", page.read_text(), re.MULTILINE)
    return [number for number in SECTION.findall(sections) if number not in headings]


@pytest.mark.parametrize(("place", "source"), list(docstrings()))
def test_a_source_can_be_found(place: str, source: str) -> None:
    known = pages()
    cited = PAGE.findall(source)
    modules = re.findall(r"\b(?:\w+/)+\w+\.py", source)
    assert cited or modules or KNOWN.search(source), f"{place}: {source}"
    for module in modules:
        assert (ROOT / "eqmail_core" / module).exists() or (ROOT / module).exists(), f"{place}: no module {module}"
    for name, sections in cited:
        assert name in known, f"{place}: no page {name}"
        assert not missing_sections(known[name], sections), f"{place}: {source}"
