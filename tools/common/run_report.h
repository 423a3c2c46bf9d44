// What ninfer-run prints of a generation beside its text: statistics for people, JSON for programs.
// Tested by tests/run_test.py.
#ifndef NINFER_TOOLS_COMMON_RUN_REPORT_H_
#define NINFER_TOOLS_COMMON_RUN_REPORT_H_

#include <string>

#include "runtime/model.h"
#include "runtime/session.h"

namespace ninfer::tools {

// Bytes a second that the model's threads read, measured on the weights where they lie (or on
// memory of the same size for the eager engine). 0 when nothing was decoded.
double MeasuredBandwidth(const runtime::Model& model, const runtime::Generation& generation,
                         int threads);

// "1 token", "2 tokens".
std::string Tokens(int64_t count);

// Lines for standard error. `bandwidth` 0 leaves the share out.
std::string FormatStats(const runtime::Model& model, const runtime::Generation& generation,
                        double bandwidth);

// One object; `bandwidth` 0 leaves the share out.
std::string FormatJson(const runtime::Model& model, const runtime::Generation& generation,
                       const runtime::SamplingOptions& sampling, double bandwidth);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_RUN_REPORT_H_
