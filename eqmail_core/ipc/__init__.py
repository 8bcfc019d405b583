"""Packets between the services: sockets, channels and protocols."""
