"""One file for each thing that we make at AWS; each can read, ensure, remove."""
