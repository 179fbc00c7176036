"""The package format as values: descriptors, manifests, recipe, runtime and hardware manifests. No I/O.

Everything here parses what it is given and reports every violation at once; nothing is trusted because it
came from a registry, a disk or a person.
"""
