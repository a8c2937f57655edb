"""Jobs: rows that are the truth about long work, and the workers, messages and sweeper that serve them."""
