"""From a folder of one's own data to a model that can be trained: what is there, what follows, and a page of both."""
