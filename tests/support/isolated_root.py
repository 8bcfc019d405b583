"""A machine of one's own to set up from nothing: namespaces with an own /etc, /var, /run, network and first process.

No account of the mail system is there, no port is taken, and what happens there stays there.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.mail_system import until
from tests.support.requirements import demand_namespaces

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = "alias|qmail[a-z]*|nofiles"
PREPARATION = """
set -eu
mount --make-rprivate /
mkdir -p {folder}/etc {folder}/var/log {folder}/home
cp -a /etc/. {folder}/etc/
for file in passwd group shadow gshadow; do
    grep -vE '^({accounts}):' /etc/$file >{folder}/etc/$file || [ ! -s /etc/$file ]
done
rm -rf {folder}/etc/service {folder}/etc/sv {folder}/etc/init.d/qmail {folder}/etc/xinetd.d
mkdir {folder}/etc/service {folder}/etc/sv {folder}/etc/xinetd.d
mount --bind {folder}/etc /etc
mount --bind {folder}/var /var
mount --bind {folder}/home /home
mount -t tmpfs none /run
# Links of the system are made in layers of memory above the folders of this host, which has no mailer there.
mkdir {folder}/layers
mount -t tmpfs none {folder}/layers
for place in usr/sbin usr/lib usr/local; do
    [ ! -L /$place ] || continue
    layer={folder}/layers/$place
    mkdir -p $layer/upper $layer/work
    mount -t overlay none -o lowerdir=/$place,upperdir=$layer/upper,workdir=$layer/work /$place
done
rm -f /usr/sbin/sendmail /usr/lib/sendmail /usr/local/bin/eqmail
ip link set lo up
hostname island.example.org
touch {folder}/is-ready
"""


class IsolatedRoot:
    """A machine whose first process runs `first`, shell commands of which the last one begins with exec."""

    def __init__(self, folder: Path, first: str) -> None:
        demand_namespaces("mount", "net", "pid", "uts")
        self.folder = folder
        folder.chmod(0o755)
        script = folder / "first"
        script.write_text(PREPARATION.format(folder=folder, accounts=ACCOUNTS) + first + "\n")
        with open(folder / "log", "wb") as log:
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc", "sh", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        until(lambda: (folder / "is-ready").exists() or self._holder.poll() is not None, "an island")
        assert self._holder.poll() is None, (folder / "log").read_text()
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._first = int(children[0])

    def run(self, command: str, code: int = 0, **environ: str) -> str:
        """Run a shell command there; its output."""
        entering = ("nsenter", "-t", str(self._first), "-m", "-n", "-p", "-u", "--wd=/", "sh", "-c", command)
        path = "/var/qmail/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ended = subprocess.run(
            entering,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": path, "PYTHONPATH": str(ROOT), **environ},
        )
        output = ended.stdout + ended.stderr
        assert ended.returncode == code, f"{command}: {ended.returncode}: {output}{(self.folder / 'log').read_text()}"
        return output

    def sink(self) -> None:
        """End everything there, and remove it."""
        os.kill(self._first, signal.SIGKILL)
        self._holder.wait(60)
        shutil.rmtree(self.folder)
