ninfer_test(plan_codec_test SOURCES plan_codec_test.cc DEPS plan)
ninfer_test(plan_test SOURCES plan_test.cc DEPS plan LABELS threads)
ninfer_test(plan_corruption_test SOURCES plan_corruption_test.cc DEPS plan)
ninfer_test(plan_validate_test SOURCES plan_validate_test.cc DEPS plan)
ninfer_test(plan_kv_groups_test SOURCES plan_kv_groups_test.cc DEPS plan)
ninfer_test(plan_memory_test SOURCES plan_memory_test.cc DEPS plan)
ninfer_test(plan_format_test SOURCES plan_format_test.cc DEPS plan)
# Any bytes do as a seed: the target takes them for edits of an example too.
ninfer_fuzz(plan_fuzz SOURCES fuzz/plan_fuzz.cc DEPS plan SEEDS ../plan/sections.def)
