"""data/templates/runit/qmail-send/log"""
