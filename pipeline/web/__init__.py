"""Floor 6: the small server."""
