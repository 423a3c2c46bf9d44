set(deps compiler runtime eager frontend image test_support)
ninfer_test(goldens_test SOURCES goldens_test.cc DEPS ${deps} FULL SHARDS 4)
ninfer_test(invariance_test SOURCES invariance_test.cc DEPS ${deps} LABELS threads)
ninfer_test(window_test SOURCES window_test.cc DEPS ${deps} LABELS threads)
ninfer_test(compile_errors_test SOURCES compile_errors_test.cc DEPS test_support
            PROGRAMS ninfer-compile)
ninfer_test(compile_flags_test SOURCES compile_flags_test.cc DEPS passes plan test_support
            PROGRAMS ninfer-compile)
ninfer_test(opt_test SOURCES opt_test.cc DEPS passes test_support
            PROGRAMS ninfer-compile ninfer-opt)
foreach(test argmax planted planted_program)
  ninfer_test(${test}_test SOURCES ${test}_test.cc DEPS ${deps})
endforeach()
foreach(test experts compiler_quality compiler_error_budget compiler_options compiler_verify
        compiler_dump)
  ninfer_test(${test}_test SOURCES ${test}_test.cc DEPS ${deps})
endforeach()
foreach(test vision compiler compiler_calibrate compiler_eager)
  ninfer_test(${test}_test SOURCES ${test}_test.cc DEPS ${deps} LABELS threads)
endforeach()
ninfer_test(random_graphs_test SOURCES random_graphs_test.cc DEPS ${deps} FULL)
