"""Atomic writing, journals of long work, folders that are replaced as a whole, colours."""
