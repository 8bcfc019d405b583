"""The wheel and the editable installation."""
