"""From nothing to a running mail server: what is checked before, what is made, how it is tried, what is left to do."""
