"""data/templates/daemontools"""
