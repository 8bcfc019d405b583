"""data/templates/daemontools-resident/qmail-send/log"""
