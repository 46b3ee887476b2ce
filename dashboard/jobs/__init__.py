"""Work that needs the model: the rest of the program requests it through `backend`; a queue and its workers do it."""
