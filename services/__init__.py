"""The four services behind the gateway."""
