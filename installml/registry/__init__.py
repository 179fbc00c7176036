"""The client side of distribution-spec: one registry, its repositories, and how to be let in."""
