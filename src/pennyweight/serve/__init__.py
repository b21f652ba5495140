"""Runs finished models for tenants: versions, limits, budgets that hold, and a row for every request."""
