ninfer_test(formats_test SOURCES formats_test.cc DEPS formats)
