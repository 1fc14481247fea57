"""Usage that providers report themselves, fetched when somebody runs `tallyboard pull`. Nothing here runs by itself."""
