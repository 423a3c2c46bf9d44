ninfer_test(text_unicode_test SOURCES text_unicode_test.cc DEPS text)
ninfer_test(text_pattern_test SOURCES text_pattern_test.cc DEPS text)
ninfer_test(text_components_test SOURCES text_components_test.cc DEPS text)
ninfer_test(text_zoo_test SOURCES text_zoo_test.cc DEPS text)
ninfer_test(text_json_test SOURCES text_json_test.cc DEPS text)
ninfer_test(text_sentencepiece_test SOURCES text_sentencepiece_test.cc DEPS text)
ninfer_test(text_tiktoken_test SOURCES text_tiktoken_test.cc DEPS text)
ninfer_test(text_trie_test SOURCES text_trie_test.cc DEPS text)
ninfer_test(text_tables_test SOURCES text_tables_test.cc DEPS text)
ninfer_test(text_models_test SOURCES text_models_test.cc DEPS text)
ninfer_test(text_chat_template_test SOURCES text_chat_template_test.cc DEPS text)
# ASan looks through the whole of a text at each search in it: minutes.
ninfer_test(text_chat_limits_test SOURCES text_chat_limits_test.cc DEPS text LABELS release)
ninfer_test(text_robustness_test SOURCES text_robustness_test.cc DEPS text)
ninfer_script_test(text_tokenize_test tokenize_test.py)

ninfer_fuzz(tokenizer_json_fuzz SOURCES fuzz/tokenizer_json_fuzz.cc DEPS text
            SEEDS fuzz/seeds/tokenizer_json)
ninfer_fuzz(tokenizer_model_fuzz SOURCES fuzz/tokenizer_model_fuzz.cc DEPS text
            SEEDS fuzz/seeds/tokenizer_model)
ninfer_fuzz(tokenizer_tables_fuzz SOURCES fuzz/tokenizer_tables_fuzz.cc DEPS text
            SEEDS fuzz/seeds/tokenizer_json)
ninfer_fuzz(tiktoken_fuzz SOURCES fuzz/tiktoken_fuzz.cc DEPS text SEEDS fuzz/seeds/tiktoken)
ninfer_fuzz(chat_template_fuzz SOURCES fuzz/chat_template_fuzz.cc DEPS text
            SEEDS data/chat-templates/templates fuzz/seeds/chat_template)
