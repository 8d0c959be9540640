"""One module a group of commands: parse, call one verb, print, exit status."""
