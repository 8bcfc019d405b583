"""The resident services and their parent; they meet only over wires."""
