"""The fault suite: a real broker, a job that is hurt, and a checker that knows nothing of the engine."""
