"""data/templates/daemontools/qmail-send/env"""
