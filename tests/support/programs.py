"""Runs a program of eQmail in its own process, with a recorder instead of qmail-queue."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT), sysconfig.get_path("platlib")]
_START = (
    "import sys; sys.path[:0] = {folders!r}; from eqmail_core.programs.{module} import main; "
    "from eqmail_core.system.entry import enter; sys.argv = [{name!r}] + sys.argv[1:]; enter(main, {home!r})"
)
_RECORDER = "#!/bin/sh\ncat >{0}/message; cat <&1 >{0}/envelope; exit {1}\n"


class Home:
    """A home without services; `queued` is what the recorder got last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in ("bin", "control", "work"):
            (path / folder).mkdir(parents=True)
        (path / "control/me").write_text("mail.example.org\n")
        self.records(0)

    def records(self, code: int) -> None:
        """Let the recorder exit with this code of qmail-queue."""
        recorder = self.path / "bin/qmail-queue"
        recorder.write_text(_RECORDER.format(self.path, code))
        recorder.chmod(0o755)

    @property
    def queued(self) -> tuple[bytes, bytes]:
        """Envelope and message."""
        return (self.path / "envelope").read_bytes(), (self.path / "message").read_bytes()

    def install(self, module: str) -> str:
        """The path of a program in bin/, as setup would make it."""
        path = self.path / "bin" / module.strip("_").replace("_", "-")
        code = _START.format(folders=FOLDERS, module=module, name=str(path), home=str(self.path))
        path.write_text(f"#!{sys.executable} -IS\n{code}\n")
        path.chmod(0o755)
        return str(path)

    def run(
        self, module: str, *words: str, stdin: bytes | int = b"", **environ: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program with these words."""
        name = f"{self.path}/bin/{module.strip('_').replace('_', '-')}"
        code = _START.format(folders=FOLDERS, module=module, name=name, home=str(self.path))
        return subprocess.run(
            [sys.executable, "-ISc", code, *words],
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=stdin if isinstance(stdin, int) else None,
            capture_output=True,
            check=False,
            cwd=self.path / "work",
            env={"PATH": os.environ["PATH"], "TZ": "UTC0", **environ},
        )
