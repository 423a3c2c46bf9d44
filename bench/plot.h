// The throughput table as one picture: what was measured and the limit of each point, over texts at
// a time, cached positions or types of weights, whichever the run varied. Tested by
// tests/bench_plot_test.cc.
#ifndef NINFER_BENCH_PLOT_H_
#define NINFER_BENCH_PLOT_H_

#include <string>

#include "bench/report.h"

namespace ninfer::bench {

// A whole SVG file. A panel for each kind of test; rates on one logarithmic scale, on which a share
// of the limit is a distance. `table` has ThroughputTable's columns and a row at least.
std::string PlotSvg(const Table& table);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_PLOT_H_
