"""What a fitted model says of new patients, how sure that is, and whether it knows such ones."""
