ninfer_test(safetensors_test SOURCES safetensors_test.cc DEPS frontend test_support)
ninfer_test(torch_file_test SOURCES torch_file_test.cc DEPS frontend ir test_support)
ninfer_test(tf_checkpoint_test SOURCES tf_checkpoint_test.cc DEPS frontend ir test_support)
ninfer_test(frontend_config_test SOURCES frontend_config_test.cc DEPS frontend)
ninfer_test(frontend_test SOURCES frontend_test.cc DEPS frontend ir test_support)
ninfer_test(frontend_folders_test SOURCES frontend_folders_test.cc DEPS frontend ir test_support)
ninfer_test(frontend_options_test SOURCES frontend_options_test.cc DEPS frontend ir test_support)
ninfer_test(frontend_defaults_test SOURCES frontend_defaults_test.cc DEPS frontend ir)
ninfer_test(frontend_vision_test SOURCES frontend_vision_test.cc DEPS frontend ir test_support)
ninfer_test(frontend_random_test SOURCES frontend_random_test.cc DEPS frontend ir test_support LABELS threads)

ninfer_fuzz(safetensors_fuzz SOURCES fuzz/safetensors_fuzz.cc DEPS frontend
            SEEDS fuzz/seeds/safetensors data/hf-models/llama-sharded/model.safetensors.index.json)
ninfer_fuzz(config_fuzz SOURCES fuzz/config_fuzz.cc DEPS frontend ir
            SEEDS fuzz/seeds/config data/hf-models/llama-rope-llama3/config.json
                  data/hf-models/phi3-longrope/config.json data/hf-models/qwen3-moe/config.json
                  data/hf-models/gemma3/config.old-style.json data/hf-models/gpt2/config.json
                  data/hf-models/qwen2/config.old-style.json data/hf-models/smolvlm/config.json)
ninfer_fuzz(torch_file_fuzz SOURCES fuzz/torch_file_fuzz.cc DEPS frontend
            SEEDS fuzz/seeds/torch_file)
ninfer_fuzz(tf_checkpoint_fuzz SOURCES fuzz/tf_checkpoint_fuzz.cc DEPS frontend
            SEEDS data/checkpoints/openai/model.ckpt.index fuzz/seeds/tf_checkpoint)
