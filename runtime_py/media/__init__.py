"""Pictures and sounds as soft tokens: from a file's content to embeddings in a prompt."""
