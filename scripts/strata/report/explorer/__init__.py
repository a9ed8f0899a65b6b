"""The explorer: one page that holds a study's own files and draws from them."""
