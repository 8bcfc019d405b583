#!/usr/bin/env python3
"""End-to-end MTA bench. See README.md.

usage: bench.py [-r ROUNDS] [-o out.jsonl] -w W1s20,W1s1,... DRIVER [DRIVER ...]
Runs go in turn (A B C A B C). Each run: clean spool, start MTA in its own cgroup, idle settle, load, wait until
the last message is delivered, stop. One JSON line per run.
"""

import os, sys, time, json, subprocess, threading, argparse, statistics, socket, signal, re

HERE = os.path.dirname(os.path.abspath(__file__))
CG = "/sys/fs/cgroup/cpuacct"
MTA, LOAD = CG + "/lab-mta", CG + "/lab-load"
HOME = "/home/lab"
NEW = HOME + "/u1/Maildir/new"
SINKPORT = 2600
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
for d in (MTA, LOAD):
    os.makedirs(d, exist_ok=True)


def rd(p):
    with open(p) as f:
        return f.read()


def cgcpu(d):
    return int(rd(d + "/cpuacct.usage_user")) / 1e9, int(rd(d + "/cpuacct.usage_sys")) / 1e9


def total():
    return int(rd(CG + "/cpuacct.usage")) / 1e9


def kthreads():
    s = 0
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                f = rd(f"/proc/{p}/stat").rsplit(")", 1)[1].split()
            except OSError:
                continue
            if f[1] == "2" or p == "2":
                s += int(f[11]) + int(f[12])
    return s / TICK


def idle():
    v = list(map(int, rd("/proc/stat").split("\n", 1)[0].split()[1:9]))
    return (v[3] + v[4]) / TICK / os.cpu_count(), v[4] / TICK / os.cpu_count()


def disk():
    for l in rd("/proc/diskstats").split("\n"):
        f = l.split()
        if len(f) > 3 and f[2] == "vda":
            return [int(f[7]), int(f[9]) // 2, int(f[18]) if len(f) > 18 else 0]


def into(cg):
    def f():
        open(cg + "/cgroup.procs", "w").write(str(os.getpid()))

    return f


LIB = r"""
labkill() { for sig in TERM TERM KILL; do for p in $(cat /sys/fs/cgroup/cpuacct/lab-mta/cgroup.procs); do kill -$sig $p 2>/dev/null; done; for i in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(cat /sys/fs/cgroup/cpuacct/lab-mta/cgroup.procs)" ] && return; sleep 0.1; done; done; }
"""


class Driver:
    def __init__(s, name):
        s.name = name
        s.path = f"{HERE}/drivers/{name}.sh"
        out = s.sh('printf "%s\\n" "$PORT" "$VERSION" "$SENDMAIL" "$ACCEPT_ONLY" "$INJECT"').split("\n")
        s.port, s.version, s.sendmail, s.accept_only, s.inject = int(out[0]), out[1], out[2], out[3], out[4]

    def sh(s, cmd, cg=None, wait=True):
        full = f'{LIB}\n. "$0"\n{cmd}'
        r = subprocess.run(
            ["bash", "-c", full, s.path],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            preexec_fn=into(cg) if cg else None,
            text=True,
            timeout=120,
        )
        return r.stdout

    def start(s):
        s.sh("setup >/dev/null", None)
        s.sh("start >/dev/null 2>&1", MTA)
        for _ in range(200):
            try:
                c = socket.create_connection(("127.0.0.1", s.port), 1)
                c.recv(200)
                c.sendall(b"QUIT\r\n")
                c.recv(200)
                c.close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"{s.name}: no port")
        time.sleep(1.0)

    def stop(s):
        s.sh("stop >/dev/null 2>&1")

    def queued(s):
        return int(s.sh("queued") or 0)


class Mem(threading.Thread):
    def __init__(s):
        super().__init__(daemon=True)
        s.rss = s.pss = s.n = 0
        s.go = True

    def sample(s, pss=False):
        r = p = n = 0
        for pid in rd(MTA + "/cgroup.procs").split():
            try:
                r += int(rd(f"/proc/{pid}/statm").split()[1]) * PAGE
                n += 1
                if pss:
                    p += int(re.search(r"^Pss:\s+(\d+)", rd(f"/proc/{pid}/smaps_rollup"), re.M).group(1)) * 1024
            except (OSError, AttributeError, ProcessLookupError):
                pass
        return r, p, n

    def run(s):
        i = 0
        while s.go:
            r, p, n = s.sample(i % 4 == 0)
            i += 1
            s.rss = max(s.rss, r)
            s.pss = max(s.pss, p)
            s.n = max(s.n, n)
            time.sleep(0.3)


class Sink:
    """smtp-sink -c, its counter read from a pipe"""

    def __init__(s, py=False):
        s.py = py
        cmd = (
            [sys.executable, HERE + "/rcptsink.py", str(SINKPORT)]
            if py
            else ["smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{SINKPORT}", "1000"]
        )
        s.p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        s.n = 0
        s.t = 0
        s.extra = ""
        threading.Thread(target=s.run, daemon=True).start()
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", SINKPORT), 1).close()
                break
            except OSError:
                time.sleep(0.05)

    def run(s):
        buf = b""
        while True:
            d = os.read(s.p.stdout.fileno(), 65536)
            if not d:
                return
            m = re.findall(rb"(?:mesg|rcpt)=(\d+)", buf + d)
            buf = d[-60:]
            if m:
                n = int(m[-1])
                if n > s.n:
                    s.n = n
                    s.t = time.time()

    def stop(s):
        s.p.kill()
        s.p.wait()


def clean():
    for d in [NEW] + [f"{HOME}/w{i}/Maildir/new" for i in range(1, 1001)]:
        if os.stat(d).st_nlink >= 2:
            for e in os.scandir(d):
                os.unlink(e.path)


def wait_maildir(n, t0, limit, paths=(NEW,)):
    """until n files lie in the directories; the end is the youngest directory mtime (kernel tick, 4 ms)"""
    left = list(paths)
    done = 0
    per = n // len(left)
    last = 0
    lastchg = time.time()
    prev = -1
    while True:
        tot = done
        keep = []
        for p in left:
            c = len(os.listdir(p))
            if c >= per:
                done += c
                last = max(last, os.stat(p).st_mtime)
            else:
                keep.append(p)
            tot += c
        left = keep
        if not left:
            return tot, last
        if tot != prev:
            prev = tot
            lastchg = time.time()
        if time.time() - t0 > limit or time.time() - lastchg > 40:
            return tot, max(os.stat(p).st_mtime for p in paths)
        time.sleep(0.05 if n <= 2000 else 0.1)


FRESH = False
VOL = "/var/tmp/mta-lab/vol"
IMG = "/var/tmp/mta-lab/vol.img"
BINDS = [
    "/var/spool/postfix",
    "/var/qmail/queue",
    "/var/spool/exim4",
    "/var/spool/smtpd",
    "/var/tmp/mta-lab/proto",
    HOME,
]


def q(cmd):
    return subprocess.run(cmd, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def unfresh():
    for b in reversed(BINDS):
        q(f"umount {b}")
    q(f"umount {VOL}")


def fresh():
    """every spool and Maildir on a newly made ext4 (loop device, direct I/O, preallocated image): ext4 takes up to 1 ms to create a
    file for a minute and more after many were deleted (recently_deleted() in find_inode_bit), so runs on one old file system disturb each other"""
    unfresh()
    if not os.path.exists(IMG):
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={IMG}", "bs=1M", "count=2048", "oflag=direct"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    for b in BINDS:
        os.makedirs(b, exist_ok=True)
        t = "/var/tmp/mta-lab/skel" + b.replace("/", "_") + ".tar"
        if not os.path.exists(t):
            clean()
            subprocess.run(["tar", "cpf", t, "-C", b, "."], check=True, stderr=subprocess.DEVNULL)
    dev = subprocess.run(["losetup", "-j", IMG, "-O", "NAME", "-n"], stdout=subprocess.PIPE, text=True).stdout.strip()
    if not dev:
        dev = subprocess.run(
            ["losetup", "-f", "--show", "--direct-io=on", IMG], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard", "-J", "size=256", dev], check=True)
    os.makedirs(VOL, exist_ok=True)
    subprocess.run(["mount", dev, VOL], check=True)
    for b in BINDS:
        d = VOL + "/" + b.strip("/").replace("/", "_")
        os.makedirs(d)
        subprocess.run(["tar", "xpf", "/var/tmp/mta-lab/skel" + b.replace("/", "_") + ".tar", "-C", d], check=True)
        subprocess.run(["mount", "--bind", d, b], check=True)
    os.sync()


def quiet(maxwait=45):
    t = time.time()
    while time.time() - t < maxwait:
        a = idle()[0]
        time.sleep(0.7)
        b = idle()[0]
        if (b - a) / 0.7 > 0.93:
            return True
    return False


def source(port, rcpt, n, s, l=4096, extra=()):
    return subprocess.run(
        [
            "smtp-source",
            "-s",
            str(s),
            "-m",
            str(n),
            "-l",
            str(l),
            "-f",
            "sender@lab.test",
            "-t",
            rcpt,
            "-M",
            "client.test",
            *extra,
            f"127.0.0.1:{port}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def onemsg(port, rcpts):
    s = socket.create_connection(("127.0.0.1", port))
    f = s.makefile("rwb", buffering=0)

    def rep():
        while True:
            l = f.readline()
            if l[3:4] != b"-":
                return l

    def cmd(c):
        f.write(c.encode() + b"\r\n")
        return rep()

    rep()
    cmd("EHLO client.test")
    cmd("MAIL FROM:<sender@lab.test>")
    bad = 0
    for r in rcpts:
        x = cmd(f"RCPT TO:<{r}>")
        if x[:1] != b"2":
            bad += 1
            lastbad = x
    if bad:
        print("  bad rcpts", bad, lastbad)
    cmd("DATA")
    f.write(b"Subject: x\r\nFrom: sender@lab.test\r\n\r\n" + (b"x" * 70 + b"\r\n") * 57)
    x = cmd(".")
    t = time.time()
    cmd("QUIT")
    s.close()
    return t, x


def run1(drv, w):
    """one run; returns dict"""
    m = re.match(r"(W\d[a-z]*?)(?:s(\d+))?(?:n(\d+))?$", w)
    kind, s, n = m.group(1), int(m.group(2) or 20), int(m.group(3) or 0)
    drv.stop()
    if FRESH:
        fresh()
    else:
        clean()
    subprocess.run(["sync"])
    res = dict(mta=drv.name, w=w, at=time.strftime("%H:%M:%S"))
    sink = None
    if kind in ("W2", "W2d"):
        sink = Sink()
    if kind == "W4r":
        sink = Sink(py=True)
    try:
        drv.start()
        q = quiet()
        mem = Mem()
        r, p, cnt = mem.sample(True)
        res.update(idle_rss_mb=round(r / 1e6, 1), idle_pss_mb=round(p / 1e6, 1), idle_procs=cnt)
        if kind == "W6":
            c0 = cgcpu(MTA)
            time.sleep(10)
            c1 = cgcpu(MTA)
            r, p, cnt = mem.sample(True)
            res.update(
                idle_rss_mb=round(r / 1e6, 1),
                idle_pss_mb=round(p / 1e6, 1),
                idle_procs=cnt,
                idle_cpu_pct=round((sum(c1) - sum(c0)) * 10, 3),
            )
            return res
        mem.start()
        c0, l0, T0, k0, i0, d0 = cgcpu(MTA), sum(cgcpu(LOAD)), total(), kthreads(), idle(), disk()
        t0 = time.time()
        limit = 60
        out = ""
        if kind == "W1u":
            n = n or 3000
            out = source(drv.port, "w@lab.test", n, s, extra=["-N"]).stdout
            ta = time.time()
            got, t1 = wait_maildir(n, t0, limit, [f"{HOME}/w{i}/Maildir/new" for i in range(1, 1001)])
        elif kind in ("W1", "W3"):
            n = n or 4000
            out = source(drv.port, "u1@lab.test", n, s, extra=["-d"] if kind == "W3" else []).stdout
            ta = time.time()
            got, t1 = wait_maildir(n, t0, limit)
        elif kind in ("W2", "W2d"):
            n = n or 4000
            out = source(drv.port, "x@remote.test", n, s, extra=["-d"] if kind == "W2d" else []).stdout
            ta = time.time()
            last = -1
            lc = time.time()
            while sink.n < n and time.time() - t0 < limit and time.time() - lc < 40:
                if sink.n != last:
                    last = sink.n
                    lc = time.time()
                time.sleep(0.02)
            got, t1 = sink.n, sink.t
        elif kind == "W4":
            n = 1000
            ta, x = onemsg(drv.port, [f"w{i}@lab.test" for i in range(1, n + 1)])
            got, t1 = wait_maildir(n, t0, limit, [f"{HOME}/w{i}/Maildir/new" for i in range(1, n + 1)])
        elif kind == "W4r":
            n = 1000
            ta, x = onemsg(drv.port, [f"r{i}@remote.test" for i in range(1, n + 1)])
            while sink.n < n and time.time() - t0 < 60:
                time.sleep(0.01)
            got, t1 = sink.n, sink.t
        elif kind in ("W5", "W5i"):
            n = n or 500
            prog = drv.inject if kind == "W5i" and drv.inject else drv.sendmail
            msg = "/var/tmp/mta-lab/msg4k"
            open(msg, "w").write("From: u1@lab.test\nTo: u1@lab.test\nSubject: x\n\n" + ("x" * 70 + "\n") * 56)
            subprocess.run(
                [
                    "sh",
                    "-c",
                    f"i=0; while [ $i -lt {n} ]; do {prog} -f sender@lab.test u1@lab.test <{msg} || exit 9; i=$((i+1)); done",
                ],
                preexec_fn=into(MTA),
            )
            ta = time.time()
            got, t1 = wait_maildir(n, t0, limit)
        c1, l1, T1, k1, i1, d1 = cgcpu(MTA), sum(cgcpu(LOAD)), total(), kthreads(), idle(), disk()
        tend = time.time()
        mem.go = False
        el = t1 - t0
        wall = tend - t0
        cpu = (c1[0] - c0[0]) + (c1[1] - c0[1])
        foreign = (T1 - T0) - cpu - (l1 - l0) - (k1 - k0)
        g = max(1, got)
        res.update(
            n=n,
            got=got,
            s=s,
            elapsed=round(el, 3),
            accept=round(ta - t0, 3),
            rate=round(got / el, 1) if el > 0 else 0,
            accept_rate=round(n / (ta - t0), 1),
            cpu_ms_user=round(1e3 * (c1[0] - c0[0]) / g, 3),
            cpu_ms_sys=round(1e3 * (c1[1] - c0[1]) / g, 3),
            cpu_ms=round(1e3 * cpu / g, 3),
            load_cpu_ms=round(1e3 * (l1 - l0) / g, 3),
            kthread_ms=round(1e3 * (k1 - k0) / g, 3),
            foreign_pct=round(100 * foreign / wall / os.cpu_count(), 1),
            idle_pct=round(100 * (i1[0] - i0[0]) / wall, 1),
            iowait_pct=round(100 * (i1[1] - i0[1]) / wall, 1),
            writes=round((d1[0] - d0[0]) / g, 2),
            kb=round((d1[1] - d0[1]) / g, 1),
            flushes=round((d1[2] - d0[2]) / g, 3),
            rss_mb=round(mem.rss / 1e6, 1),
            pss_mb=round(mem.pss / 1e6, 1),
            procs=mem.n,
            quiet=q,
        )
        if out.strip():
            res["note"] = out.strip()[:200]
        if got < n:
            res["queued"] = drv.queued()
        return res
    finally:
        drv.stop()
        if sink:
            sink.stop()


if __name__ == "__main__":
    a = argparse.ArgumentParser()
    a.add_argument("-r", type=int, default=3)
    a.add_argument("-o", default="/var/tmp/mta-lab/results.jsonl")
    a.add_argument("-w", required=True)
    a.add_argument("-f", type=float, default=6.0, help="a run with more foreign CPU %% than this is done again (once)")
    a.add_argument("-F", action="store_true", help="a new ext4 for every run")
    a.add_argument("drivers", nargs="+")
    a = a.parse_args()
    open(LOAD + "/cgroup.procs", "w").write(str(os.getpid()))
    FRESH = a.F
    drvs = [Driver(d) for d in a.drivers]
    for w in a.w.split(","):
        for r in range(a.r):
            for d in drvs:
                if d.accept_only and not w.startswith(("W1", "W3", "W6")):
                    continue
                for attempt in (1, 2):
                    res = run1(d, w)
                    res["round"] = r
                    res["attempt"] = attempt
                    res["bad"] = res.get("foreign_pct", 0) > a.f
                    open(a.o, "a").write(json.dumps(res) + "\n")
                    print(
                        " ".join(
                            f"{k}={res[k]}"
                            for k in (
                                "at",
                                "mta",
                                "w",
                                "got",
                                "elapsed",
                                "rate",
                                "accept_rate",
                                "cpu_ms",
                                "rss_mb",
                                "pss_mb",
                                "procs",
                                "idle_pct",
                                "foreign_pct",
                                "flushes",
                                "writes",
                                "idle_pss_mb",
                                "queued",
                                "note",
                            )
                            if k in res
                        ),
                        flush=True,
                    )
                    if not res["bad"]:
                        break
    if FRESH:
        unfresh()
