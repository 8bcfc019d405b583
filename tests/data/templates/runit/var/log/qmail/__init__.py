"""data/templates/runit/var/log/qmail"""
