"""The commands of `eqmail`, one module each; a module's `command` is what the command line finds."""
