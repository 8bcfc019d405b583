"""data/templates/runit-all/var/log"""
