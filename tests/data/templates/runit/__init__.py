"""data/templates/runit"""
