ninfer_test(base_test SOURCES base_test.cc DEPS base)
ninfer_test(base_machine_test SOURCES base_machine_test.cc DEPS base)
ninfer_test(base_page_table_test SOURCES base_page_table_test.cc DEPS base)
ninfer_test(base_quantise_test SOURCES base_quantise_test.cc DEPS base)
