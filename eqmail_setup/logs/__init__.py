"""Reading the logs of the services: where they lie, what their lines mean, what became of a message."""
