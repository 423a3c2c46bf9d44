// Pictures in a prompt: files become frames, marks in the text become the tokens of as many rows as
// the frames make, and the model makes the rows. Agrees with transformers' SmolVLMProcessor.
// Tested by tests/runtime_pictures_test.cc and tests/vision_run_test.py.
#ifndef NINFER_RUNTIME_PICTURES_H_
#define NINFER_RUNTIME_PICTURES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "image/processor.h"
#include "plan/plan.h"
#include "runtime/executor.h"
#include "text/tokenizer.h"

namespace ninfer::runtime {

// The settings of the plan's processor, checked; refuses a model that does not see, and one whose
// folder did not say how pictures are to be processed.
absl::StatusOr<image::ProcessorSettings> PictureSettings(const Executor& executor);

// What the model sees of a PNG or JPEG file. Errors begin with the path.
absl::StatusOr<image::Frames> ReadPicture(const std::string& path,
                                          const image::ProcessorSettings& settings);

// Rows that a frame of this edge becomes.
int64_t RowsOfFrame(const plan::Vision& vision, int64_t edge);

// `text` with each mark replaced by what stands for its picture: for a picture that was cut,
//   around <row_1_col_1> mark * rows ... \n  (a line for each row of frames)
//   \n around whole mark * rows around
// and the last line without the first newline for one that was not. There must be as many marks as
// pictures.
absl::StatusOr<std::string> ExpandMarks(absl::string_view text,
                                        const std::vector<image::Frames>& pictures,
                                        const plan::Vision& vision);

// `text` with `count` marks before it if it has none.
std::string WithMarks(absl::string_view text, int64_t count, const plan::Vision& vision);

// Rows [n, picture_columns] of all frames of all pictures, in order.
absl::StatusOr<std::vector<float>> SeePictures(const std::vector<image::Frames>& pictures,
                                               Executor* executor);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_PICTURES_H_
