"""data/templates/runit-all/qmail-submission/env"""
