"""How long a step of training takes: kernels, links, layers, and what a software stack makes of them."""
