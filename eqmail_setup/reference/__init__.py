"""Pages that are rendered from declarations."""
