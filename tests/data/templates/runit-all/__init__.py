"""data/templates/runit-all"""
