"""data/templates/daemontools/qmail-send"""
