"""Models in a GGUF file, llama.cpp's form: header, configuration, tensors, tokenizer."""
