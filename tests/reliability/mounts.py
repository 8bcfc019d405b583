"""File systems in image files, mounted where only this process and its children see them."""

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.installation import COMMAND_S, Failed

MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
"""Commands that make a file system, by its name; the path of the image comes last."""

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18


def own_mounts() -> None:
    """Give this process a mount namespace of its own, before it has threads.  Fails: OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNS) or library.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "cannot have a mount namespace")


def run(*words: str | Path) -> str:
    """Run a command of the system; its output.  Fails: Failed, with its output."""
    command = list(map(str, words))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: not done in {COMMAND_S:g} s") from None
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


def make_image(path: Path, kind: str, size_mb: int, *options: str) -> Path:
    """An image file with an empty file system in it."""
    with open(path, "wb") as file:
        file.truncate(size_mb << 20)
    run(*MAKE[kind], *options, path)
    return path


def copy_image(source: Path, target: Path) -> Path:
    """A copy that is sparse where the source is."""
    run("cp", "--sparse=always", source, target)
    return target


@contextmanager
def memory_folder(folder: Path, size_mb: int = 0) -> Iterator[Path]:
    """A folder whose files are in memory, at most so many; 0: as the kernel allows."""
    folder.mkdir(exist_ok=True)
    size = f",size={size_mb}m" if size_mb else ""
    run("mount", "-t", "tmpfs", "-o", f"mode=755{size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        unmount(folder)


@contextmanager
def mounted(image: Path, folder: Path, options: str = "loop") -> Iterator[Path]:
    """The file system of `image`, mounted at `folder` through a loop device."""
    folder.mkdir(mode=0o755, exist_ok=True)
    run("mount", "-o", options, image, folder)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Unmount, as soon as the last process has left; after a while without waiting for it."""
    for _ in range(100):
        if subprocess.run(["umount", folder], capture_output=True, check=False, timeout=COMMAND_S).returncode == 0:
            return
        time.sleep(0.05)
    run("umount", "-l", folder)


def space_left(folder: Path) -> tuple[int, int]:
    """Free KiB and free inodes."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize >> 10, state.f_favail
