"""The common package: what every process of the platform needs and no science."""
