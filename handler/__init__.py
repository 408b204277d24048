"""What Lambda calls: events in, the model's answers out."""
