"""What is wrong with an installation, and what helps."""
