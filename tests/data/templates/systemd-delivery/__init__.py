"""data/templates/systemd-delivery"""
