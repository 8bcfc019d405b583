"""data/templates/openrc-smtp"""
