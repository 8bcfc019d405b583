"""Service files for service managers, rendered from templates/services, and their installation."""
