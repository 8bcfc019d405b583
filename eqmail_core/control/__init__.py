"""What an administrator can configure: one declaration per setting."""
