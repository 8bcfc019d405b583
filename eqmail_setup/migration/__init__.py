"""Taking over another qmail, and handing over to one."""
