"""Show every step of the model on an image: record a pass, pack it, write a page and pictures."""
