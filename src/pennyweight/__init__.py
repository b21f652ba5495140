"""Find the cheapest model that keeps the quality floor, certify it, and keep every receipt."""
