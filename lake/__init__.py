"""Where data lives: the two engines, Delta tables, staging, publishing, releases, locks."""
