"""How large caches grow, who is using what they hold, and what they have saved."""
