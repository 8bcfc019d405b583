"""Small grammars of text: lines, fields, options."""
