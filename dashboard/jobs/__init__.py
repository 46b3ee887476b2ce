"""Work that needs the model: the queue, the worker that does it, and the manager through which Dash asks for it."""
