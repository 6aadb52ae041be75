"""What everything else stands on: errors, console, files, paths. Imports nothing of muomni outside itself."""
