"""The public door of the platform: keys, limits, uploads, artifacts, jobs, and forwarding to the services."""
