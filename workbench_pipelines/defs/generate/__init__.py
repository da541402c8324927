"""Prompt templates and items become prompts, and prompts become drafts."""
