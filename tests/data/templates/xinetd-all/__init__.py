"""data/templates/xinetd-all"""
