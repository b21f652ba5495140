"""What fills a device while a model is trained or served, and whether it fits."""
