ninfer_test(eager_constants_test SOURCES eager_constants_test.cc DEPS eager test_support)
ninfer_test(eager_test SOURCES eager_test.cc DEPS eager test_support LABELS threads)
ninfer_test(eager_streamed_test SOURCES eager_streamed_test.cc DEPS eager test_support LABELS threads)
ninfer_test(eager_ops_test SOURCES eager_ops_test.cc DEPS eager test_support LABELS threads)
ninfer_test(eager_state_test SOURCES eager_state_test.cc DEPS eager test_support)
ninfer_test(eager_vision_test SOURCES eager_vision_test.cc DEPS eager frontend image)
ninfer_test(eager_models_test SOURCES eager_models_test.cc DEPS eager frontend)
ninfer_test(program_interpreter_test SOURCES program_interpreter_test.cc DEPS passes eager frontend
            test_support)
