ninfer_test(base_test SOURCES base_test.cc DEPS base)
