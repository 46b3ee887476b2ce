"""The program's use of the operating system: memory limits, private folders, the end of a parent process."""
