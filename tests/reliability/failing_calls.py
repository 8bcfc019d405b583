"""Makes system calls of the services fail, by the library in failing_calls.c."""

import errno
from pathlib import Path
from typing import NamedTuple

from tests.reliability.mounts import run

SOURCE = Path(__file__).with_name("failing_calls.c")


class Fault(NamedTuple):
    """One call of some processes that fails or takes long; `once`: in the first of them, once."""

    processes: tuple[str, ...]
    call: str
    error: int = errno.EIO
    delay_ms: int = 0
    once: bool = True
    path: str = ""

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.error else f"{self.delay_ms} ms"
        return f"{' '.join(self.processes)} {self.call} {what}{'' if self.once or self.delay_ms else ' for a while'}"


class FailingCalls:
    """The library and its rules in `folder`, which every account must reach."""

    def __init__(self, folder: Path) -> None:
        """Compile the library.  Fails: Failed, without a C compiler."""
        folder.mkdir()
        folder.chmod(0o777)
        self.environ = {"LD_PRELOAD": str(folder / "failing_calls.so"), "EQMAIL_FAULTS": str(folder)}
        self._folder = folder
        self._hits = folder / "hits"
        self._hits.touch()
        self._hits.chmod(0o666)
        run("cc", "-O2", "-shared", "-fPIC", "-o", folder / "failing_calls.so", SOURCE, "-ldl")

    def arm(self, fault: Fault) -> None:
        """From now on the call fails, or is slow."""
        for process in fault.processes:
            rule = self._folder / f"{process}.{fault.call}"
            new = rule.with_suffix(".new")
            new.write_text(f"{fault.error} {fault.delay_ms} {int(fault.once)} {fault.path}\n")
            new.replace(rule)

    def disarm(self, fault: Fault) -> None:
        """No such call fails any more."""
        for process in fault.processes:
            (self._folder / f"{process}.{fault.call}").unlink(missing_ok=True)

    def hits(self) -> int:
        """How many calls have failed or were slow until now."""
        return self._hits.read_text().count("\n")
