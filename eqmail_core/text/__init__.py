"""Small text grammars: lines, fields, options."""
