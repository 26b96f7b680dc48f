"""The gateway's routes: the bound RPCs, and the few that are written by hand."""
