"""Moving bytes beside named peers, in one run: ``python benchmarks/transfer`` prints the table.

``main.py`` is the command, ``cases.py`` what is measured, ``peers.py`` who is measured, ``goals.py`` what shall hold.
"""
