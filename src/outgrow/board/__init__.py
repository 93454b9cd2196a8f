"""`outgrow board`: one live page over the log, the stores and the servers of a team."""
