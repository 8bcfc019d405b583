"""data/templates/runit-all/var"""
