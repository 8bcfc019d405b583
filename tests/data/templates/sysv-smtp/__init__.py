"""data/templates/sysv-smtp"""
