ninfer_test(program_passes_test SOURCES program_passes_test.cc DEPS passes)
