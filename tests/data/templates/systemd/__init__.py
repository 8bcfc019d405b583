"""data/templates/systemd"""
