"""One file per view: a declaration of what it draws and what of the selection it reads."""
