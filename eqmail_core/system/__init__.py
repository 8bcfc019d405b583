"""Operating system interfaces: processes, users, files, signals, descriptors."""
