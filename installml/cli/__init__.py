"""The command line: the only room that imports typer and rich, and the only one that draws.

``main`` is the entry point, ``app`` the table of verbs, ``context`` the composition root; ``screen`` writes,
``status`` turns events into bars, ``result`` results into text, ``report`` errors into words or JSON. Not here:
anything that a program could want to do; that is ``installml.api``.
"""
