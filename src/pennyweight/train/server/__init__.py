"""Asynchronous training: workers that never wait for each other, and servers that hold the weights in shards."""
