"""The container that every SageMaker job runs: prepare, train, evaluate, analyze, serve. Files in, files out."""
