"""What Evergreen's Lambda functions share: the model's specification, events, the ledger, decisions,
errors."""
