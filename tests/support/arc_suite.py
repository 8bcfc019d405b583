"""Run the ARC test suite of ValiMail: python -m tests.support.arc_suite arc-draft-validation-tests.yml

Prints every case whose result is not the wanted one.  Where the suite wants none at all, because the chain says of
itself that it has failed, RFC 8617 section 5.2 has it that the chain fails.
"""

import sys
from pathlib import Path

import yaml

from tests.support.mail_auth_harness import arc_result, texts

NO_RESULT = ""


def main(path: Path) -> int:
    """Return 0 if every case has the wanted result."""
    passed = failed = 0
    for part in yaml.safe_load_all(path.read_text()):
        records = {name.lower().encode(): text.encode() for name, text in part["txt-records"].items()}
        for name, case in part["tests"].items():
            found = arc_result(case["message"].encode(), texts(records))
            wanted = {None: "none", NO_RESULT: "fail"}.get(case["cv"]) or case["cv"].lower()
            if found.result.decode() == wanted:
                passed += 1
            else:
                failed += 1
                print(f"{name}: {found.result.decode()} ({found.reason.decode()}), wanted {wanted}")
    print(f"{passed} passed, {failed} failed")
    return failed and 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
