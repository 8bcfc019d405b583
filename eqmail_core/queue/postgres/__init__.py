"""The queue in a PostgreSQL database that several nodes share; only the queue service speaks to it."""
