ninfer_test(eager_models_test SOURCES eager_models_test.cc DEPS eager frontend)
