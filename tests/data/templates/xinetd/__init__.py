"""data/templates/xinetd"""
