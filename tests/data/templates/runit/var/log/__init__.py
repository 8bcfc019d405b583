"""data/templates/runit/var/log"""
