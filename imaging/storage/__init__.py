"""Files written whole or not at all, what they hold, and what is kept to be found again."""
