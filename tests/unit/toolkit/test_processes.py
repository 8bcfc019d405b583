"""When processes were started."""

import os
import subprocess
import sys
from pathlib import Path

from eqmail_setup.network.processes import process_start


def test_what_was_written_before_a_start_is_not_later(tmp_path: Path) -> None:
    file = tmp_path / "setting"
    for number in range(20):
        file.write_text(str(number))
        with subprocess.Popen([sys.executable, "-IS", "-c", "input()"], stdin=subprocess.PIPE) as process:
            started = process_start(process.pid)
            process.communicate(b"\n")
        assert started is not None and os.stat(file).st_ctime <= started
