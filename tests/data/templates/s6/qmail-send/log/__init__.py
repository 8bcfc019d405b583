"""data/templates/s6/qmail-send/log"""
