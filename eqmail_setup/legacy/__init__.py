"""The classic commands of the toolkit (config, config-fast, mksrvrcerts), one module each."""
