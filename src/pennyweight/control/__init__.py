"""What the search may spend, what the next trial promises, and when to stop."""
