"""The wire: sockets, channels between services, DNS."""
