"""Campaigns: their language, who gets which arm, what they brought, and which touch has the credit. Pure: no lake, file or clock."""
