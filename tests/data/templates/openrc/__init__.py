"""data/templates/openrc"""
