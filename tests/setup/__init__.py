"""The toolkit: what it plans, what it does, what it refuses."""
