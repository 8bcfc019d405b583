"""Reference pages, rendered from declarations."""
