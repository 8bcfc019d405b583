"""data/templates/s6"""
