"""Pure functions on arrays and tensors; imports nothing else of this package."""
