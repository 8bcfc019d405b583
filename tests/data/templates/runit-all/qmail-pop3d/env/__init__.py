"""data/templates/runit-all/qmail-pop3d/env"""
