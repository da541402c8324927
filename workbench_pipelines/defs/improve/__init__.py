"""The loop closes: feedback leads to labels, and labels to a retrain."""
