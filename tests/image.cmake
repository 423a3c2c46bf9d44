ninfer_test(image_decode_test SOURCES image_decode_test.cc DEPS image frontend)
ninfer_test(image_processor_test SOURCES image_processor_test.cc DEPS image frontend)
target_include_directories(image_processor_test SYSTEM PRIVATE ${NLOHMANN_JSON_INCLUDE})
ninfer_fuzz(image_fuzz SOURCES fuzz/image_fuzz.cc DEPS image
            SEEDS data/image-decoding data/image-processing)
ninfer_test(image_patches_test SOURCES image_patches_test.cc DEPS image frontend)
target_include_directories(image_patches_test SYSTEM PRIVATE ${NLOHMANN_JSON_INCLUDE})
