"""data/templates/daemontools-resident/qmail-send/env"""
