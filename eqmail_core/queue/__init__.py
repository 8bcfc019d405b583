"""The mail queue: its files, the service that accepts messages, its clients, and administration."""
