// See calibrate.h.
// Tested by tests/compiler_calibrate_test.cc.
#include "compiler/calibrate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/quantise.h"
#include "base/status.h"
#include "compiler/error_compensation.h"
#include "compiler/quality.h"
#include "eager/kernels.h"
#include "passes/passes.h"
#include "passes/weight_name.h"

namespace ninfer::compiler {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

constexpr int64_t kGramBytes = int64_t{512} << 20;  // at once; more linears take more runs
constexpr int64_t kTileRows = 64;
constexpr int64_t kTexts = 64, kTokens = 128;
constexpr uint64_t kSeed = 1000003;

// f32 tensors beside those of another source, in a file that has no name and goes with it.
class CalibratedWeights : public ir::WeightSource {
 public:
  static absl::StatusOr<std::shared_ptr<CalibratedWeights>> Create(
      std::shared_ptr<const ir::WeightSource> base, int64_t elements) {
    std::shared_ptr<CalibratedWeights> out(new CalibratedWeights(std::move(base)));
    out->bytes_ = elements * int64_t{sizeof(float)};
    const std::string folder = GetEnv("TMPDIR", "/tmp");
    std::string path = JoinPath(folder, "ninfer-calibrated-XXXXXX");
    const int file = mkostemp(path.data(), O_CLOEXEC);
    if (file < 0) {
      return InvalidArgument(folder,
                             ": cannot make a file for calibrated weights: ", strerror(errno));
    }
    unlink(path.c_str());
    int error = posix_fallocate(file, 0, out->bytes_);
    void* data = MAP_FAILED;
    if (error == 0) {
      data = mmap(nullptr, out->bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      error = errno;
    }
    close(file);
    if (data == MAP_FAILED) {
      return InvalidArgument(folder, ": no room for calibrated weights: expected ", out->bytes_,
                             " bytes: ", strerror(error));
    }
    out->data_ = static_cast<float*>(data);
    return out;
  }
  ~CalibratedWeights() override {
    if (data_ != nullptr) munmap(data_, bytes_);
  }

  float* Add(const std::string& name, int64_t n, int64_t k) {
    float* data = data_ + used_;
    used_ += n * k;
    views_[name] = {DType::kF32, {n, k}, data};
    return data;
  }

  absl::StatusOr<ir::WeightView> Find(absl::string_view name) const override {
    const auto it = views_.find(name);
    return it != views_.end() ? it->second : base_->Find(name);
  }

 private:
  explicit CalibratedWeights(std::shared_ptr<const ir::WeightSource> base)
      : base_(std::move(base)) {}

  std::shared_ptr<const ir::WeightSource> base_;
  float* data_ = nullptr;
  int64_t bytes_ = 0, used_ = 0;
  absl::flat_hash_map<std::string, ir::WeightView> views_;
};

// A weight that is calibrated, by its place among those that precision quantises.
struct Job {
  int place;
  const Value* weight;  // in the graph before precision
  const Value* input;   // of the linear
  const QuantiseScheme* scheme;
  int64_t n, k;
};

const Node* QuantiserOf(const Value* value) {
  const Node* node = value->producer();
  return node != nullptr && node->op() == Op::kQuantise ? node : nullptr;
}

// Nodes of both graphs correspond by their order among linears and embeddings, in which precision
// counts the weights that it quantises.
std::vector<const Node*> ReadersOf(const ir::Module& module) {
  std::vector<const Node*> nodes;
  for (const auto& node : module.FindFunction("step")->nodes()) {
    const bool reads = node->op() == Op::kLinear || node->op() == Op::kGroupedLinear ||
                       node->op() == Op::kEmbedding;
    if (reads && ir::IsConstant(node->operand(1))) nodes.push_back(node.get());
  }
  return nodes;
}

// Jobs of one input stand together, wherever their linears stand: attention and MLP of a parallel
// block read the same rows.
std::vector<Job> FindJobs(const ir::Module& before, const ir::Module& after) {
  const std::vector<const Node*> exact = ReadersOf(before), rounded = ReadersOf(after);
  NINFER_CHECK(exact.size() == rounded.size()) << "precision makes and drops no linear";
  absl::flat_hash_map<const Value*, int> places;
  std::set<int> done;
  std::vector<Job> jobs;
  for (size_t i = 0; i < exact.size(); ++i) {
    const Value* weight = exact[i]->operand(1);
    const Node* quantiser = QuantiserOf(rounded[i]->operand(1));
    if (quantiser == nullptr) continue;
    const int place = places.emplace(weight, static_cast<int>(places.size())).first->second;
    const QuantiseScheme* scheme = FindQuantiseScheme(quantiser->attr_string("scheme"));
    if (scheme->grid != QuantiseGrid::kTable || exact[i]->op() != Op::kLinear) continue;
    if (i + 1 == exact.size()) continue;       // the head
    if (!done.insert(place).second) continue;  // the first linear's inputs speak for all
    const Value* input = exact[i]->operand(0);
    const auto last = std::find_if(jobs.rbegin(), jobs.rend(),
                                   [&](const Job& job) { return job.input == input; });
    const ir::Type& type = weight->type();
    jobs.insert(last == jobs.rend() ? jobs.end() : last.base(),
                {place, weight, input, scheme, type.shape[0].offset, type.shape[1].offset});
  }
  return jobs;
}

// Sums of x x^T over the rows of what a linear is given.
class GramCollector {
 public:
  void Want(const Value* input, int64_t k) { grams_[input].resize(k * k); }
  bool Has(const Value* input) const { return grams_.contains(input); }

  void Observe(const Node& node, absl::Span<const eager::Tensor> results) {
    for (size_t i = 0; i < results.size(); ++i) {
      const auto it = grams_.find(node.result(static_cast<int>(i)));
      if (it != grams_.end()) Add(results[i], &it->second);
    }
  }
  std::vector<float> Take(const Value* input) { return std::move(grams_.at(input)); }

 private:
  static void Add(const eager::Tensor& x, std::vector<float>* gram) {
    const int64_t k = x.shape.back(), rows = x.elements() / k;
    std::vector<float> turned(k * rows), sum(k * k);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < k; ++i) turned[i * rows + r] = (*x.floats)[r * k + i];
    }
    eager::Gemm(/*transpose_b=*/false, k, k, rows, 1.0f, turned.data(), rows, x.floats->data(), k,
                sum.data(), k);
    for (size_t i = 0; i < sum.size(); ++i) (*gram)[i] += sum[i];
  }

  absl::flat_hash_map<const Value*, std::vector<float>> grams_;
};

absl::Status RoundJob(const Job& job, const ir::Module& module, const ir::WeightSource& weights,
                      const std::vector<float>& gram, const std::vector<float>& factor,
                      eager::ThreadPool& pool, float* out) {
  const int64_t tiles = (job.n + kTileRows - 1) / kTileRows;
  return pool.ForEach(tiles, [&](int64_t tile) -> absl::Status {
    const int64_t n0 = tile * kTileRows, n1 = std::min(job.n, n0 + kTileRows);
    float* rows = out + n0 * job.k;
    NINFER_RETURN_IF_ERROR(eager::EvaluateRows(job.weight, module, weights, n0, n1, rows));
    RoundRows(*job.scheme, gram, factor, job.k, n1 - n0, rows);
    return absl::OkStatus();
  });
}

// As many jobs from `begin` on as the sums of their inputs leave room for, one at least.
size_t EndOfRun(const std::vector<Job>& jobs, size_t begin, GramCollector* grams) {
  int64_t bytes = 0;
  size_t end = begin;
  for (; end < jobs.size(); ++end) {
    const Job& job = jobs[end];
    if (!grams->Has(job.input)) bytes += job.k * job.k * int64_t{sizeof(float)};
    if (end > begin && bytes > kGramBytes) break;
    grams->Want(job.input, job.k);
  }
  return end;
}

// `taken` counts the jobs of each name: slices of one weight have that of the whole.
std::string NameOf(const Job& job, absl::flat_hash_map<std::string, int>* taken) {
  const std::string name = absl::StrCat(passes::WeightName(job.weight), ".calibrated");
  const int number = ++(*taken)[name];
  return number == 1 ? name : absl::StrCat(name, "/", number);
}

}  // namespace

absl::Status Calibrate(const Texts& texts, int threads, const Callbacks& callbacks, Source* source,
                       passes::PassOptions* pass_options) {
  NINFER_ASSIGN_OR_RETURN(const ir::Module exact, GraphBeforePrecision(*source, *pass_options));
  ir::Module rounded = exact.Clone();
  NINFER_RETURN_IF_ERROR(passes::SettlePrecision(rounded, *pass_options).status());
  const std::vector<Job> jobs = FindJobs(exact, rounded);
  int64_t elements = 0;
  for (const Job& job : jobs) elements += job.n * job.k;
  if (elements == 0) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const std::shared_ptr<CalibratedWeights> weights,
                          CalibratedWeights::Create(source->model.weights, elements));
  eager::ThreadPool pool(threads);
  absl::flat_hash_map<std::string, int> taken;
  for (size_t begin = 0; begin < jobs.size();) {
    GramCollector grams;
    const size_t end = EndOfRun(jobs, begin, &grams);
    const auto observe = [&](const Node& node, absl::Span<const eager::Tensor> results) {
      grams.Observe(node, results);
      return absl::OkStatus();
    };
    const eager::Observer observer(observe);
    for (size_t t = 0; t < texts.size(); ++t) {
      const double share = static_cast<double>(t) / static_cast<double>(texts.size());
      const double done = static_cast<double>(begin) + share * static_cast<double>(end - begin);
      callbacks.Progress("calibrate", done / static_cast<double>(jobs.size()));
      NINFER_RETURN_IF_ERROR(callbacks.CheckCancelled());
      NINFER_RETURN_IF_ERROR(
          RunGraph(exact, source->model.weights, Texts{texts[t]}, 0, threads, &observer).status());
    }
    const Value* factored = nullptr;
    std::vector<float> gram, factor;
    for (; begin < end; ++begin) {
      const Job& job = jobs[begin];
      if (job.input != factored) {
        gram = grams.Take(job.input);
        factor = FactorInverse(job.k, &gram, &pool);
        factored = job.input;
      }
      const std::string name = NameOf(job, &taken);
      NINFER_RETURN_IF_ERROR(RoundJob(job, exact, *source->model.weights, gram, factor, pool,
                                      weights->Add(name, job.n, job.k)));
      pass_options->calibrated[job.place] = name;
    }
  }
  source->model.weights = weights;
  return absl::OkStatus();
}

absl::Status CalibrateAsAsked(const Options& options, const std::string& serialized_tokenizer,
                              const Callbacks& callbacks, Source* source,
                              passes::PassOptions* pass_options) {
  const auto start = std::chrono::steady_clock::now();
  NINFER_ASSIGN_OR_RETURN(const QualityTexts texts,
                          ReadTexts({"--calibrate", options.calibrate, kTexts, kTokens, kSeed},
                                    options, *source, serialized_tokenizer, callbacks));
  NINFER_RETURN_IF_ERROR(
      Calibrate(texts.texts, ThreadsOrDefault(options.threads), callbacks, source, pass_options));
  int64_t tokens = 0;
  for (const std::vector<int32_t>& text : texts.texts) tokens += static_cast<int64_t>(text.size());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  callbacks.Log(absl::StrFormat("calibrated %d weights on %d tokens, %s, in %.2f s",
                                pass_options->calibrated.size(), tokens, texts.origin,
                                seconds.count()));
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
