"""Times until something happens, some of which are only known to be longer than others."""
