"""The front door: one module per command. Parse, call one service, print.

Only typer is imported here at the top level; a service, and rich, inside a command's body.
"""
