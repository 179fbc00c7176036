"""From an installed package to answers: plan, worker process, Open Inference Protocol front, client.

``plan`` decides and touches nothing; ``local`` acts on a plan; ``worker`` runs in the package's own environment.
"""
