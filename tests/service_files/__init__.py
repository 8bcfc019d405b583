"""Service files: their texts, without running them."""
