"""Service files for the init systems and supervisors of this world, rendered from templates/services."""
