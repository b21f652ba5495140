"""What work costs: count, measure, predict and price it."""
