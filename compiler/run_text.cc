// See run_text.h.
// Tested by tests/compiler_verify_test.cc.
#include "compiler/run_text.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "base/page_table.h"
#include "base/status.h"
#include "eager/eager.h"
#include "eager/program_interpreter.h"
#include "passes/passes.h"
#include "plan/memory.h"
#include "runtime/sampling/sampling.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int kSimulatedThreads = 2;

int64_t MaxOfSymbol(absl::Span<const ir::Symbol> symbols, absl::string_view name,
                    int64_t fallback) {
  for (const ir::Symbol& symbol : symbols) {
    if (symbol.name == name) return symbol.max;
  }
  return fallback;
}

// What a graph or program lets a step hold.
struct StepLimits {
  int64_t tokens, rows, sequences;
  bool cached;
};

StepLimits LimitsOf(absl::Span<const ir::Symbol> symbols, bool cached) {
  const int64_t tokens = MaxOfSymbol(symbols, "T", INT32_MAX);
  return {tokens, MaxOfSymbol(symbols, "R", tokens), MaxOfSymbol(symbols, "S", 1), cached};
}

using RunStep = absl::FunctionRef<absl::StatusOr<eager::Tensor>(const eager::StepArguments&)>;

int64_t LengthOf(const std::vector<int32_t>& ids) { return static_cast<int64_t>(ids.size()); }

int64_t PagesOf(const std::vector<int32_t>& ids) { return PagesFor(LengthOf(ids), kPage); }
int64_t PagesOf(const Texts& texts) {
  int64_t pages = 0;
  for (const std::vector<int32_t>& ids : texts) pages += PagesOf(ids);
  return pages;
}

// Takes texts through steps. Text t's pages are those from first_page_[t] on, counted from the end
// of the pool, so that none lies where a mistake would look first.
class TextRunner {
 public:
  TextRunner(const Texts& texts, const std::vector<TextPictures>& pictures, int64_t singles,
             const StepLimits& limits, RunStep run)
      : texts_(texts), pictures_(pictures), singles_(singles), limits_(limits), run_(run) {
    for (const std::vector<int32_t>& ids : texts) {
      first_page_.push_back(pages_);
      pages_ += PagesOf(ids);
    }
    done_.resize(texts.size());
    logits_.resize(texts.size());
  }

  absl::StatusOr<TextLogits> Run() {
    for (size_t begin = 0; begin < texts_.size();) {
      const size_t end = EndOfGroup(begin);
      while (HasTokens(begin, end)) NINFER_RETURN_IF_ERROR(Step(begin, end));
      begin = end;
    }
    TextLogits out;
    out.vocab = vocab_;
    for (const std::vector<float>& rows : logits_) {
      out.values.insert(out.values.end(), rows.begin(), rows.end());
    }
    return out;
  }

 private:
  // As many texts as a step takes; whole ones, where there is no cache.
  size_t EndOfGroup(size_t begin) const {
    int64_t tokens = LengthOf(texts_[begin]);
    size_t end = begin + 1;
    while (end < texts_.size() && static_cast<int64_t>(end - begin) < limits_.sequences) {
      tokens += LengthOf(texts_[end]);
      if (!limits_.cached && tokens > limits_.tokens) break;
      ++end;
    }
    return end;
  }

  bool HasTokens(size_t begin, size_t end) const {
    for (size_t t = begin; t < end; ++t) {
      if (done_[t] < LengthOf(texts_[t])) return true;
    }
    return false;
  }

  int64_t Wanted(size_t t) const {
    const int64_t length = LengthOf(texts_[t]), left = length - done_[t];
    if (!limits_.cached) return left;
    if (left <= singles_) return std::min<int64_t>(left, 1);
    const int64_t half = (length - singles_ + 1) / 2;
    return done_[t] < half ? half - done_[t] : left - singles_;
  }

  absl::Status Step(size_t begin, size_t end) {
    eager::StepArguments step;
    step.seq_bounds = {0};
    int64_t room = limits_.cached ? std::min(limits_.tokens, limits_.rows) : INT64_MAX;
    int64_t width = 1;
    for (size_t t = begin; t < end; ++t) {
      width = std::max(width, PagesOf(texts_[t]));
    }
    for (size_t t = begin; t < end; ++t) {
      const int64_t count = std::min(Wanted(t), room);
      room -= count;
      for (int64_t i = done_[t]; i < done_[t] + count; ++i) {
        step.tokens.push_back(texts_[t][i]);
        step.positions.push_back(static_cast<int32_t>(i));
        step.rope_len.push_back(static_cast<int32_t>(texts_[t].size()));
      }
      if (t < pictures_.size() && !pictures_[t].rows.empty()) TakePictures(t, count, step);
      step.seq_bounds.push_back(static_cast<int32_t>(step.tokens.size()));
      step.cached_lens.push_back(static_cast<int32_t>(done_[t]));
      for (int64_t p = 0; p < width; ++p) {
        const int64_t page = std::min(first_page_[t] + p, pages_ - 1);
        step.page_table.push_back(static_cast<int32_t>(pages_ - 1 - page));
      }
    }
    NINFER_ASSIGN_OR_RETURN(const std::vector<float> rows, RunRows(step));
    for (size_t t = begin; t < end; ++t) {
      const int64_t from = step.seq_bounds[t - begin], to = step.seq_bounds[t - begin + 1];
      logits_[t].insert(logits_[t].end(), rows.begin() + from * vocab_, rows.begin() + to * vocab_);
      done_[t] += to - from;
    }
    return absl::OkStatus();
  }

  // Of steps whose texts all have some.
  void TakePictures(size_t t, int64_t count, eager::StepArguments& step) const {
    const TextPictures& pictures = pictures_[t];
    const int64_t columns = static_cast<int64_t>(pictures.rows.size()) / LengthOf(texts_[t]);
    const auto row = pictures.rows.begin() + done_[t] * columns;
    const auto is = pictures.is_picture.begin() + done_[t];
    step.pictures.insert(step.pictures.end(), row, row + count * columns);
    step.is_picture.insert(step.is_picture.end(), is, is + count);
  }

  // The step's logits come by as many rows as may be asked for: the step is repeated, which changes
  // nothing.
  absl::StatusOr<std::vector<float>> RunRows(eager::StepArguments& step) {
    const int64_t count = LengthOf(step.tokens);
    std::vector<float> out;
    for (int64_t done = 0; done < count;) {
      step.rows.clear();
      for (int64_t r = done; r < std::min(count, done + limits_.rows); ++r) {
        step.rows.push_back(static_cast<int32_t>(r));
      }
      NINFER_ASSIGN_OR_RETURN(const eager::Tensor logits, run_(step));
      if (logits.floats == nullptr || logits.shape.size() != 2 || logits.shape[0] == 0) {
        return InvalidArgument("@step: expected logits f32[rows,vocabulary] as the first result");
      }
      vocab_ = logits.shape[1];
      out.insert(out.end(), logits.floats->begin(), logits.floats->end());
      done += logits.shape[0];
    }
    return out;
  }

  const Texts& texts_;
  const std::vector<TextPictures>& pictures_;
  int64_t singles_;
  StepLimits limits_;
  RunStep run_;
  int64_t pages_ = 0;  // of all texts
  std::vector<int64_t> first_page_;
  std::vector<int64_t> done_;               // tokens of each text
  std::vector<std::vector<float>> logits_;  // of them
  int64_t vocab_ = 0;
};

// Where a step gives ids of the largest logits, they are those of the logits beside them.
absl::Status CheckArgmax(const eager::Tensor& logits, const eager::Tensor& ids) {
  if (ids.ints == nullptr || logits.floats == nullptr || logits.shape.size() != 2) {
    return absl::OkStatus();
  }
  const int64_t vocab = logits.shape[1];
  for (int64_t row = 0; row < logits.shape[0]; ++row) {
    const int32_t expected =
        runtime::FirstLargest(absl::MakeConstSpan(*logits.floats).subspan(row * vocab, vocab));
    const int32_t found = row < ids.elements() ? (*ids.ints)[row] : -1;
    if (found == expected) continue;
    return InvalidArgument("argmax of row ", row, ": expected ", expected, ", found ", found);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const Texts& texts, int64_t singles, int threads,
                                    const eager::Observer* observer) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<eager::Interpreter> interpreter,
                          eager::Interpreter::Create(&module, std::move(weights), threads,
                                                     eager::WeightCopies::kStreamed));
  std::vector<eager::KvPool> pools;
  for (const auto& parameter : module.FindFunction("step")->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool{type.dtype, type.shape[0].offset, type.shape[1].offset, PagesOf(texts), {}};
    pool.data.assign(pool.pages * 2 * pool.heads * kPage * pool.head_dim, 0);
    pools.push_back(std::move(pool));
  }
  const auto run = [&](const eager::StepArguments& step) -> absl::StatusOr<eager::Tensor> {
    NINFER_ASSIGN_OR_RETURN(std::vector<eager::Tensor> results,
                            interpreter->Run(step, &pools, observer));
    if (results.empty()) return eager::Tensor();
    if (results.size() > 1) NINFER_RETURN_IF_ERROR(CheckArgmax(results[0], results.back()));
    return std::move(results[0]);
  };
  const std::vector<TextPictures> none;
  return TextRunner(texts, none, singles, LimitsOf(module.symbols(), !pools.empty()), run).Run();
}

absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const std::vector<int32_t>& ids, int64_t singles, int threads) {
  return RunGraph(module, std::move(weights), Texts{ids}, singles, threads);
}

absl::StatusOr<PackedProgram> PackedProgram::Create(const program::Program& program,
                                                    const ir::WeightSource& weights, int threads,
                                                    int64_t pages) {
  PackedProgram out;
  out.program = std::make_unique<program::Program>(program::Clone(program));
  program::Program& copy = *out.program;
  // Before the layout pass weights have no places yet; any will do for the values.
  if (!copy.weights.empty() && copy.weights[0].offset < 0) {
    NINFER_RETURN_IF_ERROR(passes::LayOutWeights(copy, passes::PassOptions()).status());
  }
  NINFER_ASSIGN_OR_RETURN(out.weights,
                          plan::Memory::Allocate(copy.weight_bytes, "the packed weights"));
  NINFER_RETURN_IF_ERROR(eager::PackWeights(
      copy, weights, threads, [](int64_t) {}, out.weights->data()));
  NINFER_ASSIGN_OR_RETURN(
      out.interpreter,
      eager::ProgramInterpreter::Create(&copy, out.weights->data(), kSimulatedThreads, pages));
  return out;
}

absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights, const Texts& texts,
                                      int64_t singles, int threads,
                                      const std::vector<TextPictures>& pictures) {
  NINFER_ASSIGN_OR_RETURN(const PackedProgram packed,
                          PackedProgram::Create(program, weights, threads, PagesOf(texts)));
  const auto run = [&](const eager::StepArguments& step) -> absl::StatusOr<eager::Tensor> {
    NINFER_ASSIGN_OR_RETURN(eager::Tensor logits, packed.interpreter->Run(step));
    NINFER_ASSIGN_OR_RETURN(const eager::Tensor ids, packed.interpreter->Argmax());
    NINFER_RETURN_IF_ERROR(CheckArgmax(logits, ids));
    return logits;
  };
  return TextRunner(texts, pictures, singles, LimitsOf(program.symbols, !program.kv.empty()), run)
      .Run();
}

absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights,
                                      const std::vector<int32_t>& ids, int64_t singles, int threads,
                                      const TextPictures& pictures) {
  return RunProgram(program, weights, Texts{ids}, singles, threads,
                    std::vector<TextPictures>{pictures});
}

}  // namespace ninfer::compiler
