"""What to serve on: every engine, accelerator, layout and number of copies that keeps the objectives, and its price."""
