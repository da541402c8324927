"""Training Dataset Workbench: source data and prompt templates become governed training datasets, models and their lineage."""

__version__ = "0.1.0"
