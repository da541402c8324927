"""Labeled pairs become governed exports, exports become models, and models are evaluated."""
