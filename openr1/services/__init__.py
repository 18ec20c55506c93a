"""One module per command, and `stage`, the way they share: resolve, plan, find the folder, launch, sum up."""
