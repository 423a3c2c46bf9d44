ninfer_test(ir_module_test SOURCES ir_module_test.cc DEPS ir test_support)
ninfer_test(ir_builder_test SOURCES ir_builder_test.cc DEPS ir)
ninfer_test(ir_text_test SOURCES ir_text_test.cc DEPS ir test_support)
ninfer_test(ir_verifier_test SOURCES ir_verifier_test.cc DEPS ir)
ninfer_fuzz(ir_text_fuzz SOURCES fuzz/ir_text_fuzz.cc DEPS ir
            SEEDS ir/text ir/verifier RUNS 5000)
