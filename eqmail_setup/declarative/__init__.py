"""An installation as one document: `dump` writes it, `apply` makes the installation match it."""
