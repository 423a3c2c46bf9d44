ninfer_test(hub_name_test SOURCES hub_name_test.cc DEPS hub)
ninfer_test(hub_choose_test SOURCES hub_choose_test.cc DEPS hub)
ninfer_script_test(hub_test hub_test.py)
