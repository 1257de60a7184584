"""Where versions run: in this process, in engines of other processes, on foreign servers."""
