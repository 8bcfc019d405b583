"""data/templates/sysv"""
