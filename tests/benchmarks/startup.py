#!/usr/bin/env python3
"""What starting a program costs: commands in turn, their wall and CPU time, each as least and median.

usage: startup.py [-n ROUNDS] [-i INPUT] COMMAND...      (each one word for the shell's rules, run without a shell)

The CPU time is that of the command and of the children that it waits for.
"""

import argparse, os, shlex, statistics, time

a = argparse.ArgumentParser()
a.add_argument("-n", type=int, default=60)
a.add_argument("-i", default="/dev/null")
a.add_argument("commands", nargs="+")
a = a.parse_args()
commands = [shlex.split(c) for c in a.commands]
wall, cpu = [[] for _ in commands], [[] for _ in commands]
for turn in range(a.n + 2):
    for c, w, u in zip(commands, wall, cpu):
        t = time.perf_counter()
        pid = os.posix_spawnp(
            c[0],
            c,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, a.i, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ],
        )
        _, status, used = os.wait4(pid, 0)
        if status:
            raise SystemExit(f"{c}: status {status}")
        if turn >= 2:
            w.append(1e3 * (time.perf_counter() - t))
            u.append(1e3 * (used.ru_utime + used.ru_stime))
for c, w, u in zip(a.commands, wall, cpu):
    print(f"wall {min(w):.1f} {statistics.median(w):.1f} ms, cpu {min(u):.1f} {statistics.median(u):.1f} ms: {c}")
