"""A run as one page that opens from disk: `story` gathers, `draw` draws, `page` writes.

Everything a run folder holds is taken as it may be: half written, of another version, or written by a model
that says `<script>`. Nothing of it is ever executed; what cannot be read is said on the page.
"""
