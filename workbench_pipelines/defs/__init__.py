"""The rooms of the asset graph: data, generate, label, train, deploy, monitor, improve."""
