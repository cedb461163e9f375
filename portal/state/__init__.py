"""The portal's own small state: people, sessions, drafts, the queue, who looked at what. SQLite or PostgreSQL."""
