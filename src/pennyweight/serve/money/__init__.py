"""What tenants may spend and have spent: leases, budgets that warn or refuse, and rows that are durable."""
