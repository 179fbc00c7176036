"""The Open Inference Protocol's REST front: a Starlette application before one model's worker."""
