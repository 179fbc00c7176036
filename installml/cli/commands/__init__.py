"""One file a verb, or a few that belong together: declare, wire, do."""
