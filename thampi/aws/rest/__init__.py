"""A REST API in front of what is live, and what only REST APIs have: keys, plans, a firewall, mocks."""
