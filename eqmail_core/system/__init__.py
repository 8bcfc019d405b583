"""The machine: processes, users, files, signals, descriptors."""
