"""Bad input of every kind gets one line that docs/answers.md shows, its exit code, and nothing else."""

from pathlib import Path

import pytest

from tests.support.bad_inputs import CASES, Case, answer, entry, fresh, model_in, page
from tests.support.error_text import is_one_error

PAGE = Path(__file__).resolve().parents[3] / "docs/answers.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_in(tmp_path_factory.mktemp("answers"))


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_the_answer_is_one_line_and_the_one_on_the_page(case: Case, model: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    given = answer(case, fresh(model, tmp_path))
    assert given.code in (2, 3, 4, 75)
    assert given.line.startswith("eqmail: error: ")
    assert is_one_error(given.line)
    assert entry(case, given) in PAGE.read_text(), f"renew the page: {page.__doc__}"


def test_there_are_thirty_cases_without_duplicates() -> None:
    assert len({case.what for case in CASES}) == len(CASES) >= 30
    assert PAGE.read_text().count("\n### ") == len(CASES)
