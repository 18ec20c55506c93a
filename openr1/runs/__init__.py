"""The run folder: what was asked, what was done, what came out.

`folder` finds or makes one, `manifest` is its state, `resolved_file` what the children read, `events` how a
child tells its parent what it does. Light: no torch, no datasets.
"""
