"""The keys of a Hugging Face config.json: one function reads one family of models."""
