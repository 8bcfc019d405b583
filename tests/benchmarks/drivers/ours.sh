# eQmail in Python, installed as README says: its own venv outside /root, real accounts, /var/qmail, default settings.
# PYTHON: an interpreter that every account can read; SRC: what pip installs.
VENV=${EQMAIL_VENV:-/opt/eqmail-bench} PYTHON=${PYTHON:-/usr/bin/python3} SRC=${SRC:-$(cd ../.. && pwd)}
PORT=2591 VERSION="eqmail $($VENV/bin/python -c 'import eqmail_core; print(eqmail_core.VERSION)' 2>/dev/null)"
SENDMAIL=/var/qmail/bin/sendmail INJECT=/var/qmail/bin/qmail-inject
setup() {
  [ -x $VENV/bin/eqmail ] || { $PYTHON -m venv $VENV && $VENV/bin/pip install -q $SRC; }
  [ -x /var/qmail/bin/qmail-start ] || { $VENV/bin/eqmail mkusers && $VENV/bin/eqmail setup && $VENV/bin/eqmail config-fast mx.lab.test; }
  cd /var/qmail/control && echo mx.lab.test >me && echo lab.test >locals && printf 'lab.test\nremote.test\n' >rcpthosts \
    && echo 'remote.test:127.0.0.1:2600' >smtproutes; cd - >/dev/null
  rm -f /var/qmail/control/servercert.pem
  [ -z "$LAB_TLS" ] || install -o qmaild -m 0400 $LAB_TLS /var/qmail/control/servercert.pem
}
start() { setsid env -i PATH=/var/qmail/bin:/usr/bin:/bin ${EQENV:-A=1} /var/qmail/bin/qmail-start --smtp 127.0.0.1:2591 ./Maildir/ </dev/null >>/var/tmp/mta-lab/ours.log 2>&1 & echo $! >/var/tmp/mta-lab/ours.pid; }
stop() { [ -f /var/tmp/mta-lab/ours.pid ] && kill $(cat /var/tmp/mta-lab/ours.pid) 2>/dev/null; for i in $(seq 100); do [ -z "$(cat /sys/fs/cgroup/cpuacct/lab-mta/cgroup.procs)" ] && break; sleep 0.1; done; labkill; rm -f /var/tmp/mta-lab/ours.pid; }
queued() { /var/qmail/bin/qmail-qstat | sed -n '1s/.*: //p'; }
