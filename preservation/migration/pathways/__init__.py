"""The pathways, a module a family: what is converted into what, with which tool, and which measures must hold."""
