"""Local delivery: one delivery to one user, and the service that runs deliveries."""
