// See error_budget.h.
// Tested by tests/compiler_error_budget_test.cc.
#include "compiler/error_budget.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/quantise.h"
#include "base/status.h"
#include "compiler/divergence.h"
#include "compiler/quality.h"
#include "passes/passes.h"
#include "passes/weight_name.h"
#include "passes/weight_types.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kTexts = 32, kTokens = 64;
constexpr int64_t kMostLogits = int64_t{1} << 26;
constexpr uint64_t kSeed = 3001;      // other texts than those of --quality and --calibrate
constexpr size_t kPointsOfCurve = 8;  // steps between them; the bisection adds some

struct Candidate {
  std::string flag;
  passes::WeightType type;
  double BitsOf(int64_t columns) const {
    if (type.scheme == nullptr) return 8.0 * DTypeSize(type.dtype);
    const double scale = 8.0 * DTypeSize(type.scheme->scale);
    return type.scheme->bits + scale / static_cast<double>(type.scheme->GroupOf(columns));
  }
};

struct Weight {
  std::string name;                  // as MeasureLinears calls it
  std::vector<std::string> tensors;  // of the checkpoint
  int64_t elements, columns;
  double read = 1;  // the share of it that one token reads
  std::vector<TypeCost> costs;
};

// As a pattern that matches this name alone.
std::string Literally(absl::string_view name) {
  std::string pattern;
  for (const char c : name) {
    if (absl::string_view("*?[]\\").find(c) != absl::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

class BudgetSolver {
 public:
  BudgetSolver(const Options& options, const Source& source, const Callbacks& callbacks,
               const passes::PassOptions& given)
      : options_(options),
        source_(source),
        callbacks_(callbacks),
        given_(given),
        threads_(ThreadsOrDefault(options.threads)) {
    std::vector<std::string> flags = {"nu4", "int8"};
    if (given.weights == DType::kF32) flags.emplace_back("bf16");
    flags.emplace_back(DTypeName(given.weights));
    for (const std::string& flag : flags) {
      candidates_.push_back({flag, *passes::ParseWeightType(flag)});
    }
  }

  // Rules of the choice that keeps to the budget; the user's stand behind them.
  absl::StatusOr<std::vector<passes::WeightRule>> Solve(double limit) {
    NINFER_RETURN_IF_ERROR(FindWeights());
    if (weights_.empty()) return given_.weight_rules;
    NINFER_RETURN_IF_ERROR(RunReference());
    NINFER_RETURN_IF_ERROR(MeasureWeights());
    std::vector<std::vector<TypeCost>> costs;
    for (const Weight& weight : weights_) costs.push_back(weight.costs);
    order_ = UpgradeOrder(costs);
    NINFER_ASSIGN_OR_RETURN(const size_t upgrades, SmallestWithin(limit));
    LogCurve(limit, upgrades);
    return RulesOf(ChoiceAfter(upgrades));
  }

  int64_t tokens() const { return tokens_; }

 private:
  using Choice = std::vector<size_t>;  // a candidate for each weight

  absl::Status FindWeights() {
    NINFER_ASSIGN_OR_RETURN(graph_, GraphBeforePrecision(source_, given_));
    absl::flat_hash_set<const ir::Value*> routers;
    const ir::Function& step = *graph_.FindFunction("step");
    for (const auto& node : step.nodes()) {
      if (node->op() == ir::Op::kTopK) routers.insert(node->operand(0));
    }
    absl::flat_hash_set<const ir::Value*> seen;
    for (const auto& node : step.nodes()) {
      const bool grouped = node->op() == ir::Op::kGroupedLinear;
      if (!grouped && node->op() != ir::Op::kLinear) continue;
      const ir::Value* value = node->operand(1);
      if (!ir::IsConstant(value) || routers.contains(node->result())) continue;
      if (passes::WeightTypeOf(given_, value).rule >= 0 || !seen.insert(value).second) continue;
      Weight weight{passes::WeightName(value), {}, 1, value->type().shape.back().offset};
      for (const ir::Dim& dim : value->type().shape) weight.elements *= dim.offset;
      for (const ir::Value* tensor : passes::WeightsOf(value)) {
        weight.tensors.push_back(tensor->name());
      }
      if (grouped && options_.error_budget_for == "speed") {
        weight.read = static_cast<double>(node->operand(2)->type().shape.back().offset) /
                      static_cast<double>(value->type().shape[0].offset);
      }
      weights_.push_back(std::move(weight));
    }
    return absl::OkStatus();
  }

  absl::Status RunReference() {
    const int64_t vocab = source_.model.info.vocab_size;
    const int64_t count = std::clamp<int64_t>(kMostLogits / vocab / kTokens, 2, kTexts);
    NINFER_ASSIGN_OR_RETURN(texts_, SampleTexts(options_, count, kTokens, kSeed, callbacks_));
    for (const std::vector<int32_t>& text : texts_) tokens_ += static_cast<int64_t>(text.size());
    NINFER_ASSIGN_OR_RETURN(
        reference_, RunGraph(source_.model.module, source_.model.weights, texts_, 0, threads_));
    return absl::OkStatus();
  }

  absl::StatusOr<double> DivergenceOf(const passes::PassOptions& options) {
    NINFER_RETURN_IF_ERROR(callbacks_.CheckCancelled());
    ir::Module graph = graph_.Clone();
    NINFER_RETURN_IF_ERROR(passes::SettlePrecision(graph, options).status());
    NINFER_ASSIGN_OR_RETURN(const TextLogits found,
                            RunGraph(graph, source_.model.weights, texts_, 0, threads_));
    Divergence sum;
    sum.Add(reference_.values.data(), found.values.data(), tokens_, reference_.vocab, {});
    return sum.mean_kl();
  }

  // Nothing rounded but what the rules round.
  passes::PassOptions Unrounded() const {
    passes::PassOptions options = given_;
    options.weight_scheme.clear();
    options.weight_rules.clear();
    options.activations = options.kv_cache = DType::kF32;
    options.input_scheme.clear();
    return options;
  }

  // Rules that give the weight the candidate's type.
  void AddRules(const Weight& weight, size_t candidate,
                std::vector<passes::WeightRule>* rules) const {
    for (const std::string& tensor : weight.tensors) {
      rules->push_back(passes::RuleFor(Literally(tensor), candidates_[candidate].type));
    }
  }

  // Each linear's error of output where all weights are of the candidate.
  absl::StatusOr<absl::flat_hash_map<std::string, double>> ErrorsOf(size_t candidate) const {
    passes::PassOptions options = Unrounded();
    for (const Weight& weight : weights_) AddRules(weight, candidate, &options.weight_rules);
    NINFER_ASSIGN_OR_RETURN(const std::vector<plan::LinearError> linears,
                            MeasureLinears(source_, options, texts_, threads_));
    absl::flat_hash_map<std::string, double> errors;
    for (const plan::LinearError& linear : linears) errors[linear.name] = linear.error;
    return errors;
  }

  absl::Status MeasureWeights() {
    std::vector<absl::flat_hash_map<std::string, double>> errors(candidates_.size());
    for (size_t c = 0; c + 1 < candidates_.size(); ++c) {
      NINFER_ASSIGN_OR_RETURN(errors[c], ErrorsOf(c));
    }
    for (size_t w = 0; w < weights_.size(); ++w) {
      Weight& weight = weights_[w];
      callbacks_.Progress("measure weights", static_cast<double>(w) / weights_.size());
      passes::PassOptions alone = Unrounded();
      AddRules(weight, 0, &alone.weight_rules);
      NINFER_ASSIGN_OR_RETURN(const double smallest, DivergenceOf(alone));
      for (size_t c = 0; c < candidates_.size(); ++c) {
        const double bytes = candidates_[c].BitsOf(weight.columns) / 8 * weight.elements;
        const double of_first = errors[0][weight.name], error = errors[c][weight.name];
        const double ratio = c == 0 ? 1 : of_first > 0 ? error / of_first : 0;
        weight.costs.push_back({bytes * weight.read, smallest * ratio * ratio});
      }
    }
    return absl::OkStatus();
  }

  Choice ChoiceAfter(size_t upgrades) const {
    Choice choice(weights_.size());
    for (size_t i = 0; i < upgrades; ++i) choice[order_[i].weight] = order_[i].type;
    return choice;
  }

  std::vector<passes::WeightRule> RulesOf(const Choice& choice) const {
    std::vector<passes::WeightRule> rules;
    for (size_t w = 0; w < weights_.size(); ++w) {
      if (choice[w] + 1 == candidates_.size()) continue;  // the type of all that no rule names
      AddRules(weights_[w], choice[w], &rules);
    }
    rules.insert(rules.end(), given_.weight_rules.begin(), given_.weight_rules.end());
    return rules;
  }

  // The whole, as it will be.
  absl::StatusOr<double> Measured(size_t upgrades) {
    const auto it = curve_.find(upgrades);
    if (it != curve_.end()) return it->second;
    callbacks_.Progress("error budget", static_cast<double>(curve_.size()) / 16);
    passes::PassOptions options = given_;
    options.weight_rules = RulesOf(ChoiceAfter(upgrades));
    NINFER_ASSIGN_OR_RETURN(const double divergence, DivergenceOf(options));
    curve_[upgrades] = divergence;
    return divergence;
  }

  // How many upgrades it takes: a few points of the curve, then bisection between two of them.
  absl::StatusOr<size_t> SmallestWithin(double limit) {
    absl::optional<size_t> within;
    size_t outside = 0;
    for (size_t point = 0; point <= kPointsOfCurve; ++point) {
      const size_t upgrades = order_.size() * point / kPointsOfCurve;
      NINFER_ASSIGN_OR_RETURN(const double divergence, Measured(upgrades));
      if (within.has_value()) continue;
      if (divergence <= limit) {
        within = upgrades;
      } else {
        outside = upgrades;
      }
    }
    if (!within.has_value()) {
      return InvalidArgument(
          absl::StrFormat("--error-budget: expected at least %.3g%%, what activations in %s and a "
                          "cache in %s lose, "
                          "found %s",
                          100 * std::expm1(curve_[order_.size()]), given_.activations_name(),
                          given_.kv_cache_name(), options_.error_budget));
    }
    size_t inside = *within;
    while (inside > outside + 1) {
      const size_t middle = outside + (inside - outside) / 2;
      NINFER_ASSIGN_OR_RETURN(const double divergence, Measured(middle));
      (divergence <= limit ? inside : outside) = middle;
    }
    return inside;
  }

  void LogCurve(double limit, size_t chosen) const {
    callbacks_.Log(absl::StrFormat("error budget of %s: KL at most %.3g a token",
                                   options_.error_budget, limit));
    for (const auto& [upgrades, divergence] : curve_) {
      const Choice choice = ChoiceAfter(upgrades);
      double bits = 0, elements = 0;
      std::vector<int> counts(candidates_.size());
      for (size_t w = 0; w < weights_.size(); ++w) {
        bits += candidates_[choice[w]].BitsOf(weights_[w].columns) * weights_[w].elements;
        elements += static_cast<double>(weights_[w].elements);
        ++counts[choice[w]];
      }
      std::string line =
          absl::StrFormat("  %5.2f bits a weight, KL %.3g:", bits / elements, divergence);
      for (size_t c = 0; c < counts.size(); ++c) {
        absl::StrAppend(&line, c > 0 ? ", " : " ", counts[c], " in ", candidates_[c].flag);
      }
      callbacks_.Log(absl::StrCat(line, upgrades == chosen ? "  <- chosen" : ""));
    }
  }

  const Options& options_;
  const Source& source_;
  const Callbacks& callbacks_;
  const passes::PassOptions& given_;
  const int threads_;
  std::vector<Candidate> candidates_;  // from the fewest bits on
  ir::Module graph_{""};               // before precision, merged as the user's rules allow
  std::vector<Weight> weights_;
  Texts texts_;
  int64_t tokens_ = 0;
  TextLogits reference_;
  std::vector<Upgrade> order_;
  std::map<size_t, double> curve_;  // measured divergence by upgrades
};

}  // namespace

absl::StatusOr<double> ParseErrorBudget(absl::string_view text) {
  absl::string_view number = text;
  const bool percent = absl::ConsumeSuffix(&number, "%");
  double share = 0;
  if (!absl::SimpleAtod(number, &share) || !(share > 0) || !std::isfinite(share)) {
    return InvalidArgument("--error-budget: expected a share above 0, as 0.5% or 0.005, found '",
                           text, "'");
  }
  return percent ? share / 100 : share;
}

std::vector<Upgrade> UpgradeOrder(const std::vector<std::vector<TypeCost>>& weights) {
  struct Step {
    Upgrade upgrade;
    double saved_a_byte;
  };
  std::vector<Step> steps;
  for (size_t w = 0; w < weights.size(); ++w) {
    const std::vector<TypeCost>& types = weights[w];
    for (size_t at = 0; at + 1 < types.size();) {
      Step best{{w, 0}, -1};
      for (size_t to = at + 1; to < types.size(); ++to) {
        const double saved = types[at].divergence - types[to].divergence;
        const double rate = saved / std::max(types[to].bytes - types[at].bytes, 1e-9);
        if (rate > best.saved_a_byte) best = {{w, to}, rate};
      }
      if (best.saved_a_byte < 0) break;
      steps.push_back(best);
      at = best.upgrade.type;
    }
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.saved_a_byte > b.saved_a_byte; });
  std::vector<Upgrade> order;
  for (const Step& step : steps) order.push_back(step.upgrade);
  return order;
}

absl::Status SpendErrorBudget(const Options& options, const Source& source,
                              const Callbacks& callbacks, passes::PassOptions* pass_options) {
  const auto start = std::chrono::steady_clock::now();
  NINFER_ASSIGN_OR_RETURN(const double share, ParseErrorBudget(options.error_budget));
  const passes::PassOptions given = *pass_options;
  BudgetSolver solver(options, source, callbacks, given);
  NINFER_ASSIGN_OR_RETURN(pass_options->weight_rules, solver.Solve(std::log1p(share)));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  callbacks.Log(
      absl::StrFormat("error budget: weights %s, on %d tokens that the model drew, in %.2f s",
                      pass_options->weights_name(), solver.tokens(), seconds.count()));
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
