"""How questions and answers are written: one file is one protocol."""
