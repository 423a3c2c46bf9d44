ninfer_test(eager_models_test SOURCES eager_models_test.cc DEPS eager frontend)
ninfer_test(program_interpreter_test SOURCES program_interpreter_test.cc DEPS passes eager frontend)
