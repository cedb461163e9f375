"""A mapping drafted for an unknown file: its form, its columns by name and by values, its times, its money, the text."""

from cli.drafting.proposal import Draft, Part, draft

__all__ = ["Draft", "Part", "draft"]
