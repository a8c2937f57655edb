"""What is wrong with a synthetic set: copies, shortcuts, want of diversity, and of use."""
