"""Training by several processes at once: who they are, what they tell each other, and in how few bytes."""
