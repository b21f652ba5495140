"""From a request to its answer: batches, their pace, and a row before the reply."""
