"""What to rent for training and how to lay it out: every legal layout on every offer, with spares and interruptions."""
