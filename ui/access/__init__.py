"""Who gets in, and how much they may: accounts, sessions, keys, routes and their roles, budgets, the queue."""
