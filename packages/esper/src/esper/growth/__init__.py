"""Growth operators: propose -> score -> init -> insert, one file for each."""
