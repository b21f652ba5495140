"""What requests wait for: first tokens, further tokens, queues."""
