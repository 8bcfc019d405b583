"""Packets between the services: sockets, connections, protocols."""
