"""Decisions of people become canonical labels, and drafts become labeled pairs."""
