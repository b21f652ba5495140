"""Files that run the server elsewhere: Kubernetes, Ray, Compose, systemd; one file here is one target."""
