"""Results on public data beside the published ones; each module is a command."""
