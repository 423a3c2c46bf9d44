ninfer_test(program_test SOURCES program_test.cc DEPS program)
ninfer_test(program_body_test SOURCES program_body_test.cc DEPS program)
ninfer_test(program_columns_test SOURCES program_columns_test.cc DEPS program)
ninfer_test(program_text_test SOURCES program_text_test.cc DEPS passes eager test_support)
ninfer_test(program_verifier_test SOURCES program_verifier_test.cc DEPS program)
ninfer_test(program_passes_test SOURCES program_passes_test.cc DEPS passes eager test_support)
ninfer_fuzz(program_text_fuzz SOURCES fuzz/program_text_fuzz.cc DEPS program SEEDS program/text
            RUNS 5000)
ninfer_test(program_checker_test SOURCES program_checker_test.cc DEPS passes eager test_support)
ninfer_test(program_planner_test SOURCES program_planner_test.cc
            DEPS passes eager frontend test_support)
