"""data/templates/runit-all/var/log/qmail/qmail-submission"""
