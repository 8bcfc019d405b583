"""data/templates/daemontools/qmail-send/log"""
