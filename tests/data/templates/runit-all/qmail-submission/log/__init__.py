"""data/templates/runit-all/qmail-submission/log"""
