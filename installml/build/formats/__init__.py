"""Recognise the model formats of a folder by their headers; nothing is unpickled, imported or run."""
