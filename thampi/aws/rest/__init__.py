"""The REST API in front of what is live: its tree, its deployments, its stage; a module for each."""
