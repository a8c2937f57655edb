"""The figures of the analysis report: `drawing` has the list of them, each module below draws one kind."""
