"""Remote delivery over SMTP."""
