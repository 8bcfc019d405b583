"""data/templates/daemontools-resident"""
