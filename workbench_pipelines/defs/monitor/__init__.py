"""What happens to a model in use: requests and feedback, by day."""
