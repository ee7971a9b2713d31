"""Churn: events of a learning platform's users in, the risk that a user leaves and alarms out."""
