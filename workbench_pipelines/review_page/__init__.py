"""The review page: a queue, an item, a form made from its task's schema, and the decision that comes of it."""
