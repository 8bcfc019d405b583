"""One installation: paths, layout, accounts."""
