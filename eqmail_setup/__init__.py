"""The `eqmail` command: installs, configures, checks and runs an installation."""
