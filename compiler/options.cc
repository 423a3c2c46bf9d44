// See options.h. One table ties each JSON key to its field and to the calls that know it.
// Tested by tests/compiler_options_test.cc.
#include "compiler/options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/status.h"
#include "compiler/error_budget.h"
#include "passes/runner.h"
#include "passes/weight_types.h"
#include "runtime/cpu_limits.h"

namespace ninfer::compiler {
namespace {

using Json = nlohmann::json;

constexpr int kCompile = 1, kEager = 2, kCode = 4;

struct Field {
  const char* key;
  int callers;
  std::string Options::*text = nullptr;
  int64_t Options::*number = nullptr;
  std::vector<std::string> Options::*names = nullptr;
  bool Options::*flag = nullptr;
};

Field Text(const char* key, int callers, std::string Options::*field) {
  Field row{key, callers};
  row.text = field;
  return row;
}
Field Number(const char* key, int callers, int64_t Options::*field) {
  Field row{key, callers};
  row.number = field;
  return row;
}
Field Names(const char* key, int callers, std::vector<std::string> Options::*field) {
  Field row{key, callers};
  row.names = field;
  return row;
}
Field Flag(const char* key, int callers, bool Options::*field) {
  Field row{key, callers};
  row.flag = field;
  return row;
}

const std::vector<Field>& Fields() {
  static const auto* fields = new std::vector<Field>{
      Text("model", kCompile | kEager, &Options::model),
      Text("from_ir", kCompile | kEager, &Options::from_ir),
      Text("weights_from", kCompile | kEager, &Options::weights_from),
      Text("random_weights", kCompile | kEager, &Options::random_weights),
      Text("random_dtype", kCompile | kEager, &Options::random_dtype),
      Number("random_seed", kCompile | kEager, &Options::random_seed),
      Names("targets", kCompile | kCode, &Options::targets),
      Text("weights", kCompile | kEager, &Options::weights),
      Names("weights_for", kCompile | kEager, &Options::weights_for),
      Text("activations", kCompile | kEager, &Options::activations),
      Text("kv_cache", kCompile | kEager, &Options::kv_cache),
      Text("attention", kCompile, &Options::attention),
      Number("context", kCompile | kEager, &Options::context),
      Number("max_tokens", kCompile, &Options::max_tokens),
      Number("max_sequences", kCompile, &Options::max_sequences),
      Number("max_rows", kCompile, &Options::max_rows),
      Number("kv_pages", kEager, &Options::kv_pages),
      Names("disable_passes", kCompile | kEager, &Options::disable_passes),
      Names("print_before", kCompile, &Options::print_before),
      Names("print_after", kCompile, &Options::print_after),
      Text("stop_after", kCompile, &Options::stop_after),
      Text("print_changed", kCompile, &Options::print_changed),
      Text("dump_ir", kCompile, &Options::dump_ir),
      Text("dump_llvm", kCompile | kCode, &Options::dump_llvm),
      Text("dump_asm", kCompile | kCode, &Options::dump_asm),
      Text("dump_cuda", kCompile | kCode, &Options::dump_cuda),
      Text("dump_ptx", kCompile | kCode, &Options::dump_ptx),
      Text("dump_tensors", kEager, &Options::dump_tensors),
      Text("default_prompt", kCompile, &Options::default_prompt),
      Text("quality", kCompile, &Options::quality),
      Text("calibrate", kCompile, &Options::calibrate),
      Text("error_budget", kCompile, &Options::error_budget),
      Text("error_budget_for", kCompile, &Options::error_budget_for),
      Flag("verify_each", kCompile, &Options::verify_each),
      Flag("verbose", kCompile | kCode, &Options::verbose),
  };
  return *fields;
}

constexpr int64_t kMaxNumber = INT32_MAX;
// Of one step. The page table has a row for each, and a cache has pages for all.
constexpr int64_t kMostSequences = 1 << 16;

// Messages name an option as the programs' flags do: --kv-cache for "kv_cache".
std::string FlagOf(absl::string_view key) {
  return absl::StrCat(
      "--", absl::StrReplaceAll(key, {{"targets", "target"}, {"passes", "pass"}, {"_", "-"}}));
}

absl::Status WrongType(absl::string_view key, absl::string_view expected, const Json& found) {
  return InvalidArgument(FlagOf(key), ": expected ", expected, ", found ", found.type_name());
}

absl::Status SetField(const Field& field, const Json& value, Options* options) {
  if (field.text != nullptr) {
    if (!value.is_string()) return WrongType(field.key, "a string", value);
    options->*field.text = value.get<std::string>();
  } else if (field.number != nullptr) {
    if (!value.is_number_integer()) return WrongType(field.key, "a whole number", value);
    options->*field.number = value.get<int64_t>();
    if (options->*field.number < 0 || options->*field.number > kMaxNumber) {
      return InvalidArgument(FlagOf(field.key), ": expected 0 to ", kMaxNumber, ", found ",
                             value.dump());
    }
  } else if (field.flag != nullptr) {
    if (!value.is_boolean()) return WrongType(field.key, "true or false", value);
    options->*field.flag = value.get<bool>();
  } else {
    if (!value.is_array()) return WrongType(field.key, "a list of names", value);
    std::vector<std::string> names;
    for (const Json& name : value) {
      if (!name.is_string()) return WrongType(field.key, "a list of names", name);
      names.push_back(name.get<std::string>());
    }
    options->*field.names = std::move(names);
  }
  return absl::OkStatus();
}

absl::Status OneOf(absl::string_view key, const std::string& value,
                   std::vector<std::string> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return absl::OkStatus();
  return InvalidArgument(FlagOf(key), ": expected ", absl::StrJoin(allowed, ", "), ", found '",
                         value, "'");
}

absl::StatusOr<DType> ResolveType(absl::string_view key, const std::string& value, DType chosen,
                                  std::vector<std::string> allowed) {
  allowed.insert(allowed.begin(), "auto");
  NINFER_RETURN_IF_ERROR(OneOf(key, value, allowed));
  return value == "auto" ? chosen : *DTypeFromName(value);
}

absl::Status AddRule(const std::string& pattern, const std::string& type,
                     std::vector<passes::WeightRule>* rules) {
  const auto parsed = passes::ParseWeightType(type);
  NINFER_RETURN_IF_ERROR(Annotate(parsed.status(), absl::StrCat("--weights-for: ", pattern)));
  rules->push_back(passes::RuleFor(pattern, *parsed));
  return absl::OkStatus();
}

// "PATTERN=TYPE", or the path of a JSON file: {"PATTERN": "TYPE", ...}.
absl::Status AddRules(const std::string& text, std::vector<passes::WeightRule>* rules) {
  const size_t equals = text.rfind('=');
  if (equals != std::string::npos) {
    return AddRule(text.substr(0, equals), text.substr(equals + 1), rules);
  }
  NINFER_ASSIGN_OR_RETURN(const std::string file, ReadFile(text, 1 << 24));
  // Rules in the file's order, which the last one that matches ends.
  const auto document = nlohmann::ordered_json::parse(file, nullptr, false);
  if (!document.is_object()) {
    return InvalidArgument("--weights-for: ", text, ": expected a JSON object of types by pattern");
  }
  for (const auto& [pattern, type] : document.items()) {
    if (!type.is_string()) {
      return InvalidArgument("--weights-for: ", text, ": ", pattern, ": expected a string, found ",
                             type.type_name());
    }
    NINFER_RETURN_IF_ERROR(AddRule(pattern, type.get<std::string>(), rules));
  }
  return absl::OkStatus();
}

// What weights are stored in: as in the checkpoint, or as the user says.
absl::Status ChooseWeights(const Options& options, DType stored, passes::PassOptions* out) {
  out->weights = stored == DType::kBF16 || stored == DType::kF16 ? stored : DType::kF32;
  if (!options.error_budget.empty() && options.weights != "auto") {
    return InvalidArgument("--error-budget: expected --weights=auto, which it chooses, found ",
                           options.weights);
  }
  if (options.weights != "auto") {
    if (!passes::ParseWeightType(options.weights).ok()) {
      return InvalidArgument("--weights: expected auto, ", passes::WeightTypeNames(), ", found '",
                             options.weights, "'");
    }
    out->SetWeights(options.weights);
  }
  for (const std::string& text : options.weights_for) {
    NINFER_RETURN_IF_ERROR(AddRules(text, &out->weight_rules));
  }
  return absl::OkStatus();
}

// The types of activations, of linears' inputs and of the cache, beside the weights that were
// chosen.
absl::Status ChooseArithmetic(const Options& options, passes::PassOptions* out) {
  const DType arithmetic = out->weights == DType::kBF16 ? DType::kBF16 : DType::kF32;
  const bool rows = options.activations == "int8:row";
  const bool rounds = rows || options.activations == "int8";
  if (rows) out->input_scheme = "int8_row_f32";
  if (!rounds && options.activations != "auto") out->input_scheme.clear();
  const bool integers = !options.error_budget.empty() || out->CoarsestScheme() != nullptr;
  if (rounds && !integers) {
    return InvalidArgument(
        "--activations: expected f32 or bf16 beside weights that are no integers, found ",
        options.activations);
  }
  NINFER_ASSIGN_OR_RETURN(out->activations,
                          ResolveType("activations", rounds ? "auto" : options.activations,
                                      arithmetic, {"f32", "bf16", "int8", "int8:row"}));
  if (options.kv_cache == "int8") {
    out->kv_cache = DType::kI8;
    return absl::OkStatus();
  }
  NINFER_ASSIGN_OR_RETURN(out->kv_cache, ResolveType("kv_cache", options.kv_cache, out->activations,
                                                     {"f32", "bf16", "int8"}));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Options> ParseOptions(absl::string_view json, Caller caller) {
  const Json document = Json::parse(json.begin(), json.end(), nullptr, false);
  if (document.is_discarded() || !document.is_object()) {
    return InvalidArgument("options: expected a JSON object");
  }
  const int bit = caller == Caller::kCompile ? kCompile : caller == Caller::kEager ? kEager : kCode;
  Options options;
  options.text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (const auto& [key, value] : document.items()) {
    if (key == "threads") {
      if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > 4096) {
        return InvalidArgument("--threads: expected 0 to 4096, found ", value.dump());
      }
      options.threads = value.get<int>();
      continue;
    }
    const Field* found = nullptr;
    for (const Field& field : Fields()) {
      if (key == field.key) found = &field;
    }
    if (found == nullptr) return InvalidArgument("option ", key, ": no such option here");
    if ((found->callers & bit) == 0) {
      const char* place = caller == Caller::kEager     ? "with the eager engine"
                          : caller == Caller::kCompile ? "when a plan is compiled"
                                                       : "when code alone is generated";
      return InvalidArgument(FlagOf(key), ": of no use ", place);
    }
    NINFER_RETURN_IF_ERROR(SetField(*found, value, &options));
  }
  if (caller != Caller::kGenerateCode) {
    const int sources =
        !options.model.empty() + !options.from_ir.empty() + !options.random_weights.empty();
    if (sources != 1) {
      return InvalidArgument(
          "expected one of a model folder, --from-ir and --random-weights, found ",
          sources == 0 ? "none" : "several");
    }
    if (options.from_ir.empty() != options.weights_from.empty()) {
      return InvalidArgument("--from-ir and --weights-from: expected both, found one");
    }
  }
  if (document.contains("default_prompt") && options.default_prompt.empty()) {
    return InvalidArgument("--default-prompt: expected some text, found none");
  }
  if (document.contains("error_budget")) {
    NINFER_RETURN_IF_ERROR(ParseErrorBudget(options.error_budget).status());
  } else if (document.contains("error_budget_for")) {
    return InvalidArgument("--error-budget-for: expected --error-budget, found none");
  }
  NINFER_RETURN_IF_ERROR(OneOf("error_budget_for", options.error_budget_for, {"size", "speed"}));
  for (const char* key : {"random_dtype", "random_seed"}) {
    if (!document.contains(key) || !options.random_weights.empty()) continue;
    return InvalidArgument(FlagOf(key), ": expected --random-weights, found none");
  }
  for (const auto& [key, folder] : {std::pair{"dump_llvm", &options.dump_llvm},
                                    {"dump_asm", &options.dump_asm},
                                    {"dump_cuda", &options.dump_cuda},
                                    {"dump_ptx", &options.dump_ptx}}) {
    if (folder->empty() || options.stop_after.empty()) continue;
    return InvalidArgument(FlagOf(key), ": expected code to be made, found --stop-after");
  }
  NINFER_RETURN_IF_ERROR(OneOf("random_dtype", options.random_dtype, {"f32", "bf16", "f16"}));
  if (!options.print_changed.empty()) {
    NINFER_RETURN_IF_ERROR(OneOf("print_changed", options.print_changed, {"diff"}));
  }
  return options;
}

absl::StatusOr<passes::PassOptions> PassOptionsFor(const Options& options, const Source& source,
                                                   std::string* explanation) {
  const DType stored = source.model.info.stored_dtype;
  const bool budget = !options.error_budget.empty();
  passes::PassOptions out;
  NINFER_RETURN_IF_ERROR(ChooseWeights(options, stored, &out));
  NINFER_RETURN_IF_ERROR(ChooseArithmetic(options, &out));
  NINFER_RETURN_IF_ERROR(OneOf("attention", options.attention, {"naive", "efficient", "flash"}));
  out.attention = options.attention;
  out.context_length = source.model.info.context_length;
  if (options.max_tokens > 0) out.max_tokens = options.max_tokens;
  if (options.max_sequences > 0) out.max_sequences = options.max_sequences;
  if (out.max_sequences > kMostSequences) {
    return InvalidArgument("--max-sequences: expected 1 to ", kMostSequences, ", found ",
                           out.max_sequences);
  }
  if (options.max_rows > 0) out.max_rows = options.max_rows;
  out.max_tokens = std::min(out.max_tokens, out.context_length);
  out.max_rows = std::min(out.max_rows, out.max_tokens);
  out.disabled.insert(options.disable_passes.begin(), options.disable_passes.end());
  out.stop_after = options.stop_after;
  out.dump_dir = options.dump_ir;
  out.print_before.insert(options.print_before.begin(), options.print_before.end());
  out.print_after.insert(options.print_after.begin(), options.print_after.end());
  out.print_changed_diff = options.print_changed == "diff";
  if (!options.calibrate.empty() && !budget && !out.HasTable()) {
    return InvalidArgument("--calibrate: expected weights of nu4, found ", out.weights_name());
  }
  NINFER_RETURN_IF_ERROR(passes::CheckPassOptions(out));
  *explanation =
      absl::StrCat("stored ", DTypeName(stored), ": weights ",
                   budget ? "within the error budget" : out.weights_name(), ", activations ",
                   out.activations_name(), ", cache ", out.kv_cache_name());
  return out;
}

int ThreadsOrDefault(int threads) {
  return threads > 0 ? threads : runtime::DefaultThreads(runtime::ReadCpuLimits());
}

}  // namespace ninfer::compiler
