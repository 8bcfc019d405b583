"""data/templates/systemd-logins"""
