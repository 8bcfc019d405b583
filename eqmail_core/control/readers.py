"""The programs that read control files, by the names that people know."""

SMTPD = "qmail-smtpd"
QMTPD = "qmail-qmtpd"
SEND = "qmail-send"
INJECT = "qmail-inject"
REMOTE = "qmail-remote"
LOCAL = "qmail-local"
LMTP = "qmail-lmtp"
QUEUE = "qmail-queue"
START = "qmail-start"
ALL = ("every program",)
