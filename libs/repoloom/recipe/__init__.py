"""A recipe says what corpus, tokenizer, model and evaluation are wanted; every door into repoloom runs the same one."""
