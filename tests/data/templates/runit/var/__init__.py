"""data/templates/runit/var"""
