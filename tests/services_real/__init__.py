"""Service files at work, under the init systems and supervisors that they are made for."""
