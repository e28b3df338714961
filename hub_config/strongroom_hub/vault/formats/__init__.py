"""Reading other people's files, each in batches of bounded size and with every problem told by row and column."""
