"""What a team shares: versions of models, tenants and their keys, budgets, and a row for every request."""
