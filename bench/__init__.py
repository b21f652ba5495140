"""Side-by-side measurements, one command each: ``python -m bench.NAME``; the last line is one JSON object."""
