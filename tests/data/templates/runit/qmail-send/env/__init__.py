"""data/templates/runit/qmail-send/env"""
