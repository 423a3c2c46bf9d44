// Pictures and goldens that lie beside them.
#ifndef NINFER_TESTS_IMAGE_TESTING_H_
#define NINFER_TESTS_IMAGE_TESTING_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/file.h"
#include "frontend/checkpoint.h"

namespace ninfer {

inline std::string ImageData(const std::string& folder, const std::string& name) {
  return JoinPath(NINFER_SOURCE_DIR "/tests/data/" + folder, name);
}

inline std::unique_ptr<frontend::Checkpoint> ImageGoldens(const std::string& folder) {
  auto golden = frontend::Checkpoint::OpenFile(ImageData(folder, "golden.safetensors"));
  EXPECT_TRUE(golden.ok()) << golden.status();
  return golden.ok() ? *std::move(golden) : nullptr;
}

inline std::string ImageBytes(const std::string& folder, const std::string& name) {
  auto bytes = ReadFile(ImageData(folder, name));
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *std::move(bytes) : std::string();
}

}  // namespace ninfer

#endif  // NINFER_TESTS_IMAGE_TESTING_H_
