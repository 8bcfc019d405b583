"""data/templates/systemd-socket"""
