"""Files written in one step, their checksums, and signals held back meanwhile."""
