"""What an installation consists of, and how it is found, made and kept."""
