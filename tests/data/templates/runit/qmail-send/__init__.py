"""data/templates/runit/qmail-send"""
