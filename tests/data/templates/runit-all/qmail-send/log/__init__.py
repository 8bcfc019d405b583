"""data/templates/runit-all/qmail-send/log"""
