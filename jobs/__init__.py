"""The container that every job runs: prepare, train, evaluate, analyze, serve. Files in, files out."""
