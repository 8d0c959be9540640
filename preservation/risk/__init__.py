"""How much each format endangers what is kept in it: judgements, a score, what was decided, and what has changed."""
