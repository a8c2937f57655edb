"""Ways to run the platform: embedded on one machine, in containers, on Kubernetes."""
