ninfer_test(passes_golden_test SOURCES passes_golden_test.cc DEPS passes eager test_support)
ninfer_test(passes_fuzz_test SOURCES passes_fuzz_test.cc DEPS passes eager test_support)
ninfer_test(passes_model_test SOURCES passes_model_test.cc DEPS passes eager frontend test_support)
ninfer_test(passes_runner_test SOURCES passes_runner_test.cc DEPS passes test_support)
