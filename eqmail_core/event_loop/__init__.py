"""Building blocks of event loops: listeners, children, threads, signals."""
