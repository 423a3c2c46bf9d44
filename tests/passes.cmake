ninfer_test(passes_golden_test SOURCES passes_golden_test.cc DEPS passes eager test_support)
ninfer_test(passes_fuzz_test SOURCES passes_fuzz_test.cc DEPS passes eager test_support)
