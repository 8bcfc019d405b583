"""data/templates/runit-all/qmail-send/env"""
