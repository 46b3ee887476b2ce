"""Work that needs the model: `backend` is how the rest of the program asks for it, the queue and its workers do it."""
