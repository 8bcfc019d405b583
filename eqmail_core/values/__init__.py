"""The words that every room shares; immutable, pure, at the bottom of the house."""
